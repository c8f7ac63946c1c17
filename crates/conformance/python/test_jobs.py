"""IoTHubJobManager: twin updates and methods for many devices at once."""

import unittest
from datetime import datetime, timedelta, timezone

import hub
from azure.iot.hub import IoTHubJobManager
from azure.iot.hub.models import CloudToDeviceMethod, JobRequest, QuerySpecification, Twin, TwinProperties
from devices import Answers, client
from msrest.exceptions import DeserializationError


class Jobs(unittest.TestCase):
    def setUp(self):
        self.registry = hub.registry()
        self.manager = IoTHubJobManager.from_connection_string(hub.SERVICE)
        self.group = hub.unique("group")
        self.devices = [hub.make_device() for _ in range(3)]
        for device in self.devices:
            self.registry.update_twin(device, Twin(tags={"group": self.group}))

    def start(self, **options):
        job = hub.unique("job")
        request = JobRequest(
            job_id=job, query_condition=f"tags.group = '{self.group}'", max_execution_time_in_seconds=60, **options
        )
        return self.manager.create_scheduled_job(job, request)

    def finished(self, job):
        ends = ("completed", "failed", "cancelled")

        def ended():
            found = self.manager.get_scheduled_job(job)
            return found if found.status in ends else None

        return hub.eventually("the job's end", ended)

    def test_a_twin_update(self):
        update = Twin(etag="*", tags={"done": True}, properties=TwinProperties(desired={"speed": 5}))
        made = self.start(type="scheduleUpdateTwin", update_twin=update)
        self.assertEqual(made.type, "scheduleUpdateTwin")
        ended = self.finished(made.job_id)
        self.assertEqual((ended.status, ended.job_id), ("completed", made.job_id))
        self.assertEqual(ended.device_job_statistics.device_count, 3)
        self.assertEqual(ended.device_job_statistics.succeeded_count, 3)
        for device in self.devices:
            twin = self.registry.get_twin(device)
            self.assertEqual((twin.tags["done"], twin.properties.desired["speed"]), (True, 5))
        query = f"SELECT * FROM devices.jobs WHERE devices.jobs.jobId = '{made.job_id}'"
        rows = self.registry.query_iot_hub(QuerySpecification(query=query))
        self.assertEqual(rows.type, "DeviceJob")
        self.assertEqual({row.device_id for row in rows.items}, set(self.devices))

    def test_a_method(self):
        with client(self.devices[0]) as owner:
            owner.connect()
            answers = Answers(owner)
            method = CloudToDeviceMethod(method_name="echo", payload={"a": 1}, response_timeout_in_seconds=30)
            made = self.start(type="scheduleDeviceMethod", cloud_to_device_method=method)
            ended = self.finished(made.job_id)
            self.assertEqual(answers.seen.get(timeout=hub.PATIENCE), ("echo", {"a": 1}))
        statistics = ended.device_job_statistics
        # Two of the three are away.
        self.assertEqual((statistics.device_count, statistics.succeeded_count, statistics.failed_count), (3, 1, 2))

    def test_a_job_for_later_can_be_cancelled(self):
        update = Twin(etag="*", tags={"done": True})
        made = self.start(type="scheduleUpdateTwin", update_twin=update, start_time=datetime.now(timezone.utc) + timedelta(days=1))
        self.assertIn(made.status, ("queued", "scheduled"))
        cancelled = self.manager.cancel_scheduled_job(made.job_id)
        self.assertEqual(cancelled.status, "cancelled")
        self.assertEqual(self.manager.get_scheduled_job(made.job_id).status, "cancelled")
        self.assertNotIn("done", self.registry.get_twin(self.devices[0]).tags)

    def test_a_list(self):
        made = self.start(type="scheduleUpdateTwin", update_twin=Twin(etag="*", tags={"done": True}))
        self.finished(made.job_id)
        # The service answers with a list, as the Node and .NET SDKs read it; this SDK expects an object with `items`.
        with self.assertRaises(DeserializationError):
            self.manager.query_scheduled_jobs("scheduleUpdateTwin", "completed")

    def test_a_job_that_nobody_knows(self):
        found = self.manager.get_scheduled_job(hub.unique("job"))
        self.assertEqual((found.type, found.status), ("unknown", "unknown"))
