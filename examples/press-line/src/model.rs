//! The model: sensors in, heating power out. A network of one hidden layer, small enough to be written down.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use prost::Message;
use tract_onnx::pb;
use tract_onnx::prelude::*;

use crate::registers::Sensors;

/// Inputs and hidden units.
const WIDTH: usize = 3;
const HIDDEN: usize = 4;

/// From sensors (a row) to hidden units (a column): below 200 °C, above 200 °C, speed, pressure.
const TO_HIDDEN: [f32; WIDTH * HIDDEN] = [
    -1.0, 1.0, 0.0, 0.0, //
    0.0, 0.0, 0.0, 1.0, //
    0.0, 0.0, 1.0, 0.0,
];
const HIDDEN_BIAS: [f32; HIDDEN] = [200.0, -200.0, 0.0, 0.0];
const OUTPUT_BIAS: [f32; 1] = [100.0];

/// The second revision heats a little more at high speed.
fn to_output(revision: u16) -> [f32; HIDDEN] {
    [10.0, -10.0, if revision >= 2 { 2.5 } else { 2.0 }, 1.0]
}

/// Writes a revision of the model as ONNX.
pub fn write(revision: u16, file: &Path) -> Result<()> {
    ensure!((1..=2).contains(&revision), "there is no revision {revision}: 1 or 2");
    std::fs::write(file, encoded(revision)).with_context(|| format!("cannot write {}", file.display()))
}

fn encoded(revision: u16) -> Vec<u8> {
    let graph = pb::GraphProto {
        name: "advice".to_owned(),
        node: vec![
            node("Gemm", &["sensors", "w1", "b1"], "sums"),
            node("Relu", &["sums"], "hidden"),
            node("Gemm", &["hidden", "w2", "b2"], "heat"),
        ],
        initializer: vec![
            tensor("w1", &[WIDTH, HIDDEN], &TO_HIDDEN),
            tensor("b1", &[HIDDEN], &HIDDEN_BIAS),
            tensor("w2", &[HIDDEN, 1], &to_output(revision)),
            tensor("b2", &[1], &OUTPUT_BIAS),
        ],
        input: vec![row("sensors", WIDTH)],
        output: vec![row("heat", 1)],
        ..pb::GraphProto::default()
    };
    let opset = pb::OperatorSetIdProto { domain: String::new(), version: 13 };
    let model = pb::ModelProto {
        ir_version: 7,
        opset_import: vec![opset],
        producer_name: "press-line".to_owned(),
        model_version: revision.into(),
        graph: Some(graph),
        ..pb::ModelProto::default()
    };
    model.encode_to_vec()
}

fn node(operator: &str, input: &[&str], output: &str) -> pb::NodeProto {
    pb::NodeProto {
        op_type: operator.to_owned(),
        name: output.to_owned(),
        input: input.iter().map(|name| (*name).to_owned()).collect(),
        output: vec![output.to_owned()],
        ..pb::NodeProto::default()
    }
}

fn tensor(name: &str, dims: &[usize], values: &[f32]) -> pb::TensorProto {
    pb::TensorProto {
        name: name.to_owned(),
        dims: dims.iter().map(|dim| *dim as i64).collect(),
        data_type: pb::tensor_proto::DataType::Float as i32,
        float_data: values.to_vec(),
        ..pb::TensorProto::default()
    }
}

fn row(name: &str, width: usize) -> pb::ValueInfoProto {
    let dim = |value: usize| pb::tensor_shape_proto::Dimension {
        value: Some(pb::tensor_shape_proto::dimension::Value::DimValue(value as i64)),
        ..pb::tensor_shape_proto::Dimension::default()
    };
    let shape = pb::TensorShapeProto { dim: vec![dim(1), dim(width)] };
    let elem_type = pb::tensor_proto::DataType::Float as i32;
    let tensor = pb::type_proto::Tensor { elem_type, shape: Some(shape) };
    let value = Some(pb::type_proto::Value::TensorType(tensor));
    let kind = pb::TypeProto { value, ..pb::TypeProto::default() };
    pb::ValueInfoProto { name: name.to_owned(), r#type: Some(kind), ..pb::ValueInfoProto::default() }
}

/// A model that is ready to score.
pub struct Scorer {
    plan: Arc<TypedRunnableModel>,
    /// The revision that the file says.
    pub revision: u16,
}

impl Scorer {
    pub fn load(file: &Path) -> Result<Self> {
        let bytes = std::fs::read(file).with_context(|| format!("cannot read the model {}", file.display()))?;
        Self::read(&bytes).with_context(|| format!("{} is no model of this line", file.display()))
    }

    fn read(bytes: &[u8]) -> Result<Self> {
        let proto = pb::ModelProto::decode(bytes).context("it is no ONNX")?;
        let model = tract_onnx::onnx().model_for_proto_model(&proto)?;
        let plan = model.into_optimized()?.into_runnable()?;
        Ok(Self { plan, revision: u16::try_from(proto.model_version).unwrap_or(0) })
    }

    /// The heating power to be advised, in thousandths.
    pub fn score(&self, sensors: Sensors) -> Result<u16> {
        let row = [sensors.temperature, sensors.pressure, sensors.speed];
        let input = Tensor::from_shape(&[1, WIDTH], &row)?;
        let output = self.plan.run(tvec!(input.into()))?;
        let heat = output[0].cast_to_scalar::<f32>()?;
        ensure!(heat.is_finite(), "the model says {heat}");
        Ok(heat.round().clamp(0.0, 1000.0) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_heats_what_is_cold_and_leaves_alone_what_is_hot() {
        let scorer = Scorer::read(&encoded(1)).expect("a model");
        let at = |temperature| scorer.score(Sensors { temperature, pressure: 5.0, speed: 60.0 }).expect("a score");
        assert_eq!((at(180.0), at(200.0), at(300.0)), (425, 225, 0));
    }

    #[test]
    fn the_file_says_its_revision() {
        assert_eq!(Scorer::read(&encoded(2)).expect("a model").revision, 2);
        assert!(Scorer::read(b"nonsense").is_err());
    }

    #[test]
    fn the_files_beside_are_what_is_written_here() {
        for revision in [1, 2] {
            let path = format!("{}/model/advice-{revision}.onnx", env!("CARGO_MANIFEST_DIR"));
            assert_eq!(std::fs::read(&path).expect("it is there"), encoded(revision), "{path}");
        }
    }
}
