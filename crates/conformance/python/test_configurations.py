"""IoTHubConfigurationManager: configurations, edge deployments, content for one device."""

import unittest

import hub
from azure.iot.hub import IoTHubConfigurationManager
from azure.iot.hub.models import (
    Configuration,
    ConfigurationContent,
    ConfigurationMetrics,
    ConfigurationQueriesTestInput,
)
from hub import refused

MODULES = {
    "$edgeAgent": {
        "properties.desired": {
            "schemaVersion": "1.1",
            "runtime": {"type": "docker", "settings": {}},
            "systemModules": {},
            "modules": {"filter": {"type": "docker", "settings": {"image": "filter:1"}}},
        }
    },
    "$edgeHub": {"properties.desired": {"schemaVersion": "1.1", "routes": {}, "storeAndForwardConfiguration": {"timeToLiveSecs": 7200}}},
    "filter": {"properties.desired": {"speed": 5}},
}


def quoted(etag):
    # The SDK hands an etag on as it is, and the hub takes it in quotes only.
    return f'"{etag}"'


class Configurations(unittest.TestCase):
    def setUp(self):
        self.manager = IoTHubConfigurationManager.from_connection_string(hub.SERVICE)

    def make(self, **more):
        options = {
            "content": ConfigurationContent(device_content={"properties.desired.speed": 5}),
            "target_condition": "tags.site = 'nowhere'",
            "priority": 10,
            "labels": {"made-by": "a test"},
            "metrics": ConfigurationMetrics(queries={"fast": "SELECT deviceId FROM devices WHERE properties.reported.speed > 3"}),
        }
        return Configuration(id=hub.unique("config"), **{**options, **more})

    def test_a_life(self):
        wanted = self.make()
        made = self.manager.create_configuration(wanted)
        self.assertEqual((made.id, made.priority, made.etag), (wanted.id, 10, "MQ=="))
        self.assertEqual(made.labels, {"made-by": "a test"})
        self.assertEqual(made.content.device_content, {"properties.desired.speed": 5})
        self.assertEqual(sorted(made.system_metrics.queries), ["appliedCount", "targetedCount"])
        self.assertEqual(list(made.metrics.queries), ["fast"])
        self.assertIsNotNone(made.created_time_utc)
        with refused(self, 409, "ConfigurationAlreadyExists"):
            self.manager.create_configuration(wanted)

        made.priority = 20
        made.target_condition = "tags.site = 'elsewhere'"
        updated = self.manager.update_configuration(made, quoted(made.etag))
        self.assertEqual((updated.priority, updated.target_condition, updated.etag), (20, "tags.site = 'elsewhere'", "Mg=="))
        with refused(self, 412, "PreconditionFailed"):
            self.manager.update_configuration(made, quoted("MQ=="))
        self.assertEqual(self.manager.get_configuration(made.id).priority, 20)
        self.assertIn(made.id, [other.id for other in self.manager.get_configurations()])

        self.manager.delete_configuration(made.id, quoted(updated.etag))
        with refused(self, 404, "ConfigurationNotFound"):
            self.manager.get_configuration(made.id)

    def test_a_bare_etag_is_no_update(self):
        made = self.manager.create_configuration(self.make())
        with refused(self, 409, "ConfigurationAlreadyExists"):
            self.manager.update_configuration(made, made.etag)
        self.manager.delete_configuration(made.id)

    def test_content_stays_as_it_was(self):
        made = self.manager.create_configuration(self.make())
        made.content = ConfigurationContent(device_content={"properties.desired.speed": 99})
        updated = self.manager.update_configuration(made, quoted("*"))
        self.assertEqual(updated.content.device_content, {"properties.desired.speed": 5})

    def test_a_deployment(self):
        wanted = self.make(content=ConfigurationContent(modules_content=MODULES), metrics=None)
        made = self.manager.create_configuration(wanted)
        self.assertEqual(made.content.modules_content["filter"], MODULES["filter"])
        self.assertEqual(
            sorted(made.system_metrics.queries),
            ["appliedCount", "reportedFailedCount", "reportedSuccessfulCount", "targetedCount"],
        )
        self.manager.delete_configuration(made.id)

    def test_what_the_hub_does_not_take(self):
        with refused(self, 400, "InvalidConfigurationTargetCondition"):
            self.manager.create_configuration(self.make(target_condition="tags.site ="))
        without_agent = ConfigurationContent(modules_content={"filter": MODULES["filter"]})
        with refused(self, 400, "InvalidConfigurationContent"):
            self.manager.create_configuration(self.make(content=without_agent, metrics=None))
        with refused(self, 404, "ConfigurationNotFound"):
            self.manager.get_configuration(hub.unique("nothing"))

    def test_queries_are_tried_out(self):
        good = ConfigurationQueriesTestInput(
            target_condition="tags.site = 'm1'",
            custom_metric_queries={"fast": "SELECT deviceId FROM devices WHERE properties.reported.speed > 3"},
        )
        answer = self.manager.test_configuration_queries(good)
        self.assertFalse(answer.target_condition_error)
        self.assertFalse(answer.custom_metric_query_errors)
        bad = ConfigurationQueriesTestInput(target_condition="tags.site =", custom_metric_queries={"fast": "SELECT"})
        answer = self.manager.test_configuration_queries(bad)
        self.assertTrue(answer.target_condition_error)
        self.assertEqual(list(answer.custom_metric_query_errors), ["fast"])

    def test_content_for_one_edge_device(self):
        registry = hub.registry()
        edge = hub.make_device("edge", iot_edge=True)
        self.manager.apply_configuration_on_edge_device(edge, ConfigurationContent(modules_content=MODULES))
        self.assertIn("filter", [module.module_id for module in registry.get_modules(edge)])
        self.assertEqual(registry.get_module_twin(edge, "filter").properties.desired["speed"], 5)
        agent = registry.get_module_twin(edge, "$edgeAgent").properties.desired
        self.assertEqual(agent["modules"]["filter"]["settings"], {"image": "filter:1"})
        with self.assertRaises(hub.HttpOperationError) as caught:
            self.manager.apply_configuration_on_edge_device(hub.make_device(), ConfigurationContent(modules_content=MODULES))
        self.assertEqual(caught.exception.response.status_code, 400)
        with refused(self, 404, "DeviceNotFound"):
            self.manager.apply_configuration_on_edge_device(hub.unique("nobody"), ConfigurationContent(modules_content=MODULES))
