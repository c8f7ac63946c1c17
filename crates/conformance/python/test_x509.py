"""Devices that log in with a certificate whose thumbprint is registered."""

import hashlib
import os
import ssl
import unittest

import hub
from azure.iot.device import X509, IoTHubDeviceClient, IoTHubModuleClient, exceptions
from devices import TRANSPORTS, meter

CERTIFICATE = os.environ["DEVICE_CERTIFICATE_FILE"]
KEY_FILE = os.environ["DEVICE_KEY_FILE"]
NOBODY = "0" * 40


def thumbprint(algorithm):
    with open(CERTIFICATE) as file:
        encoded = ssl.PEM_cert_to_DER_cert(file.read())
    return hashlib.new(algorithm, encoded).hexdigest().upper()


class Certificates(unittest.TestCase):
    def setUp(self):
        self.registry = hub.registry()

    def client(self, device, module=None, files=(CERTIFICATE, KEY_FILE), **options):
        kind, more = (IoTHubDeviceClient, {}) if module is None else (IoTHubModuleClient, {"module_id": module})
        made = kind.create_from_x509_certificate(
            x509=X509(*files), hostname=hub.HOST, device_id=device,
            server_verification_cert=hub.CA, connection_retry=False, **more, **options,
        )
        self.addCleanup(made.shutdown)
        return made

    def device(self, primary, secondary):
        name = hub.unique("device")
        self.registry.create_device_with_x509(name, primary, secondary, "enabled")
        return name

    def test_a_registered_thumbprint(self):
        for transport, options in TRANSPORTS.items():
            for primary, secondary in ((thumbprint("sha1"), NOBODY), (NOBODY, thumbprint("sha1")), (thumbprint("sha256"), NOBODY * 2)):
                with self.subTest(transport, primary=primary[:8]):
                    client = self.client(self.device(primary, secondary[: len(primary)]), **options)
                    client.connect()
                    before = meter("telemetry")
                    client.send_message("text")
                    self.assertEqual(meter("telemetry"), before + 1)
                    client.patch_twin_reported_properties({"up": True})
                    self.assertEqual(client.get_twin()["reported"], {"up": True, "$version": 2})

    def test_a_module(self):
        device = hub.make_device()
        self.registry.create_module_with_x509(device, "filter", "", thumbprint("sha1"), NOBODY)
        client = self.client(device, "filter")
        client.connect()
        self.assertEqual(client.get_twin()["desired"], {"$version": 1})

    def test_an_authority_vouches_for_the_name_it_signed(self):
        device = os.environ["SIGNED_DEVICE"]
        signed = os.environ["SIGNED_CERTIFICATE_FILE"], os.environ["SIGNED_KEY_FILE"]
        self.registry.create_device_with_certificate_authority(device, "enabled")
        other = hub.unique("device")
        self.registry.create_device_with_certificate_authority(other, "enabled")
        for transport, options in TRANSPORTS.items():
            with self.subTest(transport):
                client = self.client(device, files=signed, **options)
                client.connect()
                self.assertEqual(client.get_twin()["desired"], {"$version": 1})
                for name, files in ((other, signed), (device, (CERTIFICATE, KEY_FILE))):
                    with self.assertRaises(exceptions.CredentialError):
                        self.client(name, files=files, **options).connect()

    def test_who_is_not_let_in(self):
        for transport, options in TRANSPORTS.items():
            for device in (self.device(NOBODY, NOBODY), hub.make_device()):
                with self.subTest(transport, device=device):
                    with self.assertRaises(exceptions.CredentialError):
                        self.client(device, **options).connect()
