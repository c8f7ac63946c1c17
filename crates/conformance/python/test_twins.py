"""IoTHubRegistryManager: twins of devices and modules, and queries over them."""

import unittest

import hub
from azure.iot.hub.models import QuerySpecification, Twin, TwinProperties
from hub import KEY, OTHER_KEY, refused


class Twins(unittest.TestCase):
    def setUp(self):
        self.registry = hub.registry()
        self.device = hub.make_device()

    def test_a_new_twin(self):
        twin = self.registry.get_twin(self.device)
        self.assertEqual((twin.device_id, twin.etag, twin.version), (self.device, "AAAAAAAAAAE=", 2))
        self.assertEqual((twin.status, twin.connection_state), ("enabled", "Disconnected"))
        self.assertEqual(twin.authentication_type, "sas")
        self.assertEqual(twin.device_etag, self.registry.get_device(self.device).etag)
        self.assertEqual(twin.properties.desired["$version"], 1)
        self.assertEqual(twin.properties.reported["$version"], 1)

    def test_a_patch_merges(self):
        first = Twin(tags={"site": "m1", "rack": {"row": 1}}, properties=TwinProperties(desired={"speed": 5, "on": True}))
        twin = self.registry.update_twin(self.device, first)
        self.assertEqual((twin.etag, twin.version), ("AAAAAAAAAAI=", 3))
        self.assertEqual(twin.properties.desired["$version"], 2)

        second = Twin(tags={"rack": {"column": 2}, "site": None}, properties=TwinProperties(desired={"on": None}))
        twin = self.registry.update_twin(self.device, second, twin.etag)
        self.assertEqual(twin.tags, {"rack": {"row": 1, "column": 2}})
        desired = {key: value for key, value in twin.properties.desired.items() if not key.startswith("$")}
        self.assertEqual(desired, {"speed": 5})
        self.assertEqual(twin.properties.desired["$version"], 3)
        self.assertEqual(twin.properties.desired["$metadata"]["speed"]["$lastUpdatedVersion"], 2)
        self.assertEqual(self.registry.get_twin(self.device).etag, twin.etag)

    def test_a_stale_etag(self):
        old = self.registry.get_twin(self.device).etag
        self.registry.update_twin(self.device, Twin(tags={"a": 1}), old)
        with refused(self, 412, "PreconditionFailed"):
            self.registry.update_twin(self.device, Twin(tags={"a": 2}), old)
        with refused(self, 412, "PreconditionFailed"):
            self.registry.replace_twin(self.device, Twin(tags={"a": 2}), old)
        self.assertEqual(self.registry.get_twin(self.device).tags, {"a": 1})

    def test_a_replacement_forgets_the_rest(self):
        self.registry.update_twin(self.device, Twin(tags={"a": 1}, properties=TwinProperties(desired={"b": 2})))
        twin = self.registry.replace_twin(self.device, Twin(tags={"c": 3}, properties=TwinProperties(desired={"d": 4})))
        self.assertEqual(twin.tags, {"c": 3})
        desired = {key: value for key, value in twin.properties.desired.items() if not key.startswith("$")}
        self.assertEqual(desired, {"d": 4})

    def test_the_twin_of_a_module(self):
        self.registry.create_module_with_sas(self.device, "filter", "", KEY, OTHER_KEY)
        twin = self.registry.get_module_twin(self.device, "filter")
        self.assertEqual((twin.device_id, twin.module_id), (self.device, "filter"))
        twin = self.registry.update_module_twin(self.device, "filter", Twin(properties=TwinProperties(desired={"a": 1})), twin.etag)
        self.assertEqual(twin.properties.desired["a"], 1)
        twin = self.registry.replace_module_twin(self.device, "filter", Twin(properties=TwinProperties(desired={"b": 2})))
        self.assertNotIn("a", twin.properties.desired)
        self.assertEqual(self.registry.get_twin(self.device).properties.desired["$version"], 1)

    def test_what_the_hub_does_not_take(self):
        for tags in ({"a.b": 1}, {"$a": 1}, {"a": "x" * 4097}, {"a": [None]}):
            with refused(self, 400, "ArgumentInvalid"):
                self.registry.update_twin(self.device, Twin(tags=tags))
        with refused(self, 404, "DeviceNotFound"):
            self.registry.get_twin(hub.unique("nobody"))
        with refused(self, 404, "DeviceNotFound"):
            self.registry.update_twin(hub.unique("nobody"), Twin(tags={"a": 1}))


class Queries(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.registry = hub.registry()
        cls.group = hub.unique("group")
        cls.devices = [hub.make_device() for _ in range(5)]
        for number, device in enumerate(cls.devices):
            twin = Twin(tags={"group": cls.group, "n": number}, properties=TwinProperties(desired={"even": number % 2 == 0}))
            cls.registry.update_twin(device, twin)

    def ask(self, select, condition="", **options):
        query = f"SELECT {select} FROM devices WHERE tags.group = '{self.group}'{condition}"
        return self.registry.query_iot_hub(QuerySpecification(query=query), **options)

    def test_twins(self):
        found = self.ask("*")
        self.assertEqual((found.type, found.continuation_token), ("Twin", None))
        self.assertEqual({twin.device_id for twin in found.items}, set(self.devices))
        self.assertEqual(found.items[0].properties.desired["$version"], 2)

    def test_conditions(self):
        for condition, numbers in (
            (" AND tags.n > 2", {3, 4}),
            (" AND (tags.n = 0 OR tags.n = 4)", {0, 4}),
            (" AND tags.n IN [1, 3, 9]", {1, 3}),
            (" AND tags.n NIN [1, 3, 9]", {0, 2, 4}),
            (" AND NOT properties.desired.even = true", {1, 3}),
            (" AND IS_DEFINED(tags.nothing)", set()),
            (" AND status = 'enabled' AND connectionState = 'Disconnected'", {0, 1, 2, 3, 4}),
            (f" AND deviceId = '{self.devices[1]}'", {1}),
        ):
            with self.subTest(condition):
                self.assertEqual({twin.tags["n"] for twin in self.ask("*", condition).items}, numbers)

    def test_pages(self):
        pages, token = [], None
        while True:
            page = self.ask("*", continuation_token=token, max_item_count=2)
            pages.append([twin.device_id for twin in page.items])
            token = page.continuation_token
            if token is None:
                break
        self.assertEqual([len(page) for page in pages], [2, 2, 1])
        self.assertEqual({device for page in pages for device in page}, set(self.devices))

    def test_projections(self):
        found = self.ask("deviceId, tags.n AS number", " AND tags.n = 3")
        self.assertEqual(found.type, "Raw")
        self.assertEqual(found.items[0].device_id, self.devices[3])
        self.assertEqual(found.items[0].additional_properties["number"], 3)

    def test_aggregates(self):
        found = self.ask("COUNT() AS total")
        self.assertEqual([item.additional_properties["total"] for item in found.items], [5])
        query = f"SELECT properties.desired.even AS even, COUNT() AS total FROM devices WHERE tags.group = '{self.group}' GROUP BY properties.desired.even"
        found = self.registry.query_iot_hub(QuerySpecification(query=query))
        counts = {item.additional_properties["even"]: item.additional_properties["total"] for item in found.items}
        self.assertEqual(counts, {True: 3, False: 2})

    def test_modules(self):
        self.registry.create_module_with_sas(self.devices[0], "filter", "", KEY, OTHER_KEY)
        query = f"SELECT * FROM devices.modules WHERE deviceId = '{self.devices[0]}' AND moduleId = 'filter'"
        found = self.registry.query_iot_hub(QuerySpecification(query=query))
        self.assertEqual([(twin.device_id, twin.module_id) for twin in found.items], [(self.devices[0], "filter")])

    def test_nothing_and_nonsense(self):
        found = self.ask("*", " AND tags.n = 99")
        self.assertEqual((found.items, found.type, found.continuation_token), ([], "Twin", None))
        with refused(self, 400, "ArgumentInvalid"):
            self.registry.query_iot_hub(QuerySpecification(query="SELECT * FROM nowhere"))
        with refused(self, 400, "ArgumentInvalid"):
            self.registry.query_iot_hub(QuerySpecification(query="SELECT"))
