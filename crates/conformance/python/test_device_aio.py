"""The asynchronous clients, over MQTT and over WebSocket."""

import asyncio
import queue
import unittest

import hub
from azure.iot.device import MethodResponse, exceptions
from azure.iot.device.aio import IoTHubDeviceClient, IoTHubModuleClient
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties
from devices import TRANSPORTS, meter


class Clients(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.registry = hub.registry()

    async def client(self, device, module=None, key=hub.KEY, **options):
        kind = IoTHubDeviceClient if module is None else IoTHubModuleClient
        made = kind.create_from_connection_string(hub.device_string(device, key, module), server_verification_cert=hub.CA, **options)
        self.addAsyncCleanup(made.shutdown)
        return made

    async def invoke(self, device, module=None, **options):
        """The service SDK blocks; the device must be able to answer meanwhile."""
        asked = CloudToDeviceMethod(**options)
        if module is None:
            return await asyncio.to_thread(self.registry.invoke_device_method, device, asked)
        return await asyncio.to_thread(self.registry.invoke_device_module_method, device, module, asked)

    async def test_everything_a_device_does(self):
        for name, options in TRANSPORTS.items():
            with self.subTest(name):
                device = hub.make_device()
                client = await self.client(device, **options)
                await client.connect()
                before = meter("telemetry")
                await asyncio.gather(*(client.send_message(f"message {n}") for n in range(20)))
                self.assertEqual(meter("telemetry"), before + 20)

                await client.patch_twin_reported_properties({"speed": 5})
                twin = await client.get_twin()
                self.assertEqual(twin["reported"], {"speed": 5, "$version": 2})

                # Handlers run in a loop of the SDK's own.
                told = queue.Queue()

                async def tell(patch):
                    told.put(patch)

                client.on_twin_desired_properties_patch_received = tell
                self.registry.update_twin(device, Twin(properties=TwinProperties(desired={"speed": 6})))
                self.assertEqual(await asyncio.to_thread(told.get, timeout=hub.PATIENCE), {"speed": 6, "$version": 2})

                async def answer(request):
                    response = MethodResponse.create_from_method_request(request, 200, request.payload)
                    await client.send_method_response(response)

                client.on_method_request_received = answer
                result = await self.invoke(device, method_name="echo", payload={"a": 1}, connect_timeout_in_seconds=30)
                self.assertEqual((result.status, result.payload), (200, {"a": 1}))

    async def test_inboxes(self):
        device = hub.make_device()
        client = await self.client(device)
        await client.connect()
        # What is wanted first is subscribed to when it is asked for.
        message = asyncio.create_task(client.receive_message())
        patch = asyncio.create_task(client.receive_twin_desired_properties_patch())
        request = asyncio.create_task(client.receive_method_request("echo"))
        await asyncio.to_thread(hub.control, "POST", f"/devices/{device}/messages/deviceBound", "hello")
        self.assertEqual((await asyncio.wait_for(message, hub.PATIENCE)).data, b'"hello"')
        listens = lambda what: any(c["device_id"] == device and c[what] for c in hub.control("GET", "/connections"))
        await asyncio.to_thread(hub.eventually, "a subscription", lambda: listens("desired"))
        self.registry.update_twin(device, Twin(properties=TwinProperties(desired={"speed": 6})))
        self.assertEqual(await asyncio.wait_for(patch, hub.PATIENCE), {"speed": 6, "$version": 2})
        invoked = asyncio.create_task(self.invoke(device, method_name="echo", payload=7, connect_timeout_in_seconds=30))
        asked = await asyncio.wait_for(request, hub.PATIENCE)
        await client.send_method_response(MethodResponse.create_from_method_request(asked, 200, asked.payload))
        self.assertEqual((await invoked).payload, 7)

    async def test_a_module(self):
        device = hub.make_device()
        self.registry.create_module_with_sas(device, "filter", "", hub.OTHER_KEY, hub.KEY)
        client = await self.client(device, "filter", hub.OTHER_KEY)
        await client.connect()
        await client.patch_twin_reported_properties({"up": True})
        self.assertTrue(self.registry.get_module_twin(device, "filter").properties.reported["up"])

    async def test_who_is_not_let_in(self):
        client = await self.client(hub.make_device(), key=hub.base64.b64encode(b"a key that nobody knows").decode(), connection_retry=False)
        with self.assertRaises(exceptions.CredentialError):
            await client.connect()
        self.assertFalse(client.connected)

    async def test_coming_and_going(self):
        client = await self.client(hub.make_device())
        for _ in range(3):
            await client.connect()
            self.assertTrue(client.connected)
            self.assertEqual((await client.get_twin())["reported"], {"$version": 1})
            await client.disconnect()
            self.assertFalse(client.connected)

