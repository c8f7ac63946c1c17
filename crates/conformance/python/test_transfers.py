"""IoTHubJobManager: import and export of the registry, from and to blob containers."""

import json
import os
import unittest

import hub
from azure.iot.hub import IoTHubJobManager
from azure.iot.hub.models import JobProperties
from hub import KEY, refused

SIGNATURE = "sv=2021-12-02&sig=c2VjcmV0"


class Transfers(unittest.TestCase):
    def setUp(self):
        self.registry = hub.registry()
        self.manager = IoTHubJobManager.from_connection_string(hub.SERVICE)
        self.container = hub.unique("container")
        self.folder = os.path.join(os.environ["BLOB_DIR"], self.container)
        os.mkdir(self.folder)
        self.address = f"https://store.blob.core.windows.net/{self.container}?{SIGNATURE}"

    def finished(self, **properties):
        made = self.manager.create_import_export_job(JobProperties(output_blob_container_uri=self.address, **properties))
        self.assertIn(made.status, ("enqueued", "running", "completed"))
        self.assertNotIn("sig=", made.output_blob_container_uri)

        def ended():
            found = self.manager.get_import_export_job(made.job_id)
            return found if found.status not in ("enqueued", "running") else None

        return hub.eventually("the job's end", ended)

    def lines(self, blob="devices.txt"):
        with open(os.path.join(self.folder, blob)) as file:
            return {entry["id"]: entry for entry in map(json.loads, file)}

    def test_out_and_in_again(self):
        device = hub.make_device()
        ended = self.finished(type="export")
        self.assertEqual((ended.type, ended.status, ended.progress), ("export", "completed", 100))
        self.assertGreaterEqual(ended.end_time_utc, ended.start_time_utc)
        self.assertEqual(self.lines()[device]["authentication"]["symmetricKey"]["primaryKey"], KEY)
        self.registry.delete_device(device)

        ended = self.finished(type="import", input_blob_container_uri=self.address)
        self.assertEqual((ended.type, ended.status), ("import", "completed"))
        self.assertEqual(self.registry.get_device(device).authentication.symmetric_key.primary_key, KEY)
        self.assertIn(ended.job_id, [job.job_id for job in self.manager.get_import_export_jobs()])
        # It has ended, and stays so.
        self.manager.cancel_import_export_job(ended.job_id)
        self.assertEqual(self.manager.get_import_export_job(ended.job_id).status, "completed")

    def test_without_keys(self):
        device = hub.make_device()
        self.finished(type="export", exclude_keys_in_export=True, output_blob_name="open.txt")
        self.assertIsNone(self.lines("open.txt")[device]["authentication"]["symmetricKey"]["primaryKey"])

    def test_what_goes_wrong(self):
        failed = self.finished(type="import", input_blob_container_uri=self.address, input_blob_name="nothing.txt")
        self.assertEqual(failed.status, "failed")
        self.assertIn("nothing.txt", failed.failure_reason)
        nobody = hub.unique("nobody")
        with open(os.path.join(self.folder, "devices.txt"), "w") as file:
            file.write(json.dumps({"id": nobody, "importMode": "delete"}))
        self.assertEqual(self.finished(type="import", input_blob_container_uri=self.address).status, "completed")
        with open(os.path.join(self.folder, "importErrors.log")) as file:
            error = json.loads(file.read())
        self.assertEqual((error["deviceId"], error["errorCode"]), (nobody, "DeviceNotFound"))
        with refused(self, 400, "ArgumentInvalid"):
            self.address = "https://store.blob.core.windows.net/nowhere"
            self.finished(type="export")
        with refused(self, 404, "JobNotFound"):
            self.manager.get_import_export_job(hub.unique("job"))
