"""Files that devices upload: IoTHubDeviceClient begins and ends an upload, and what it is given is what storage takes."""

import contextlib
import os
import ssl
import unittest
import urllib.error
import urllib.request

import hub
from azure.iot.device.exceptions import ClientError
from devices import client


def put(info, text, **headers):
    """Writes to the blob of an upload with nothing but what the SDK gave; gives the status."""
    address = f"https://{info['hostName']}/{info['containerName']}/{info['blobName']}{info['sasToken']}"
    request = urllib.request.Request(address, text.encode(), headers, method="PUT")
    try:
        with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=hub.CA_FILE)) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


class Uploads(unittest.TestCase):
    @contextlib.contextmanager
    def refused(self, status):
        """The SDK says what the hub answered in the cause of its error."""
        with self.assertRaises(ClientError) as caught:
            yield
        self.assertIn(f"HTTP operation returned: {status} ", str(caught.exception.__cause__))

    def test_a_file_arrives(self):
        device = hub.make_device()
        with client(device) as owner:
            info = owner.get_storage_info_for_blob("logs/of today.txt")
            self.assertEqual((info["containerName"], info["blobName"]), ("uploads", f"{device}/logs/of today.txt"))
            where = {**info, "blobName": info["blobName"].replace(" ", "%20")}
            self.assertEqual(put(where, "all is well", **{"x-ms-blob-type": "BlockBlob"}), 201)
            with open(os.path.join(os.environ["BLOB_DIR"], "uploads", device, "logs", "of today.txt")) as file:
                self.assertEqual(file.read(), "all is well")
            self.assertEqual(put({**where, "containerName": "others"}, "", **{"x-ms-blob-type": "BlockBlob"}), 403)
            owner.notify_blob_upload_status(info["correlationId"], True, 201, "done")
            with self.refused(400):
                owner.notify_blob_upload_status(info["correlationId"], True, 201, "again")

    def test_what_is_refused(self):
        device = hub.make_device()
        with client(device) as owner:
            with self.refused(400):
                owner.get_storage_info_for_blob("../elsewhere.txt")
            begun = [owner.get_storage_info_for_blob(f"{n}.txt") for n in range(10)]
            with self.refused(403):
                owner.get_storage_info_for_blob("one more.txt")
            owner.notify_blob_upload_status(begun[0]["correlationId"], False, 500, "given up")
            owner.get_storage_info_for_blob("one more.txt")
        with client(device, key=hub.OTHER_KEY.swapcase()) as stranger:
            with self.refused(401):
                stranger.get_storage_info_for_blob("a.txt")


if __name__ == "__main__":
    unittest.main()
