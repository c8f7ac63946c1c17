"""python3 -m unittest, in this folder."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

from term_consumer import Damaged, Terms, stamp, verdict


def line(term, pool="press_1", **more):
    return json.dumps({"device": "edge", "properties": {"ha-pool": pool, "ha-term": str(term)}, **more})


class Consumer(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.state = os.path.join(self.folder.name, "terms.json")

    def test_late_messages_of_a_returned_device_are_dropped(self):
        terms = Terms()
        self.assertIsNone(verdict(terms, line(1)))
        self.assertIsNone(verdict(terms, line(2)))
        self.assertEqual(verdict(terms, line(1)), "its term 1 of press_1 is over: the newest is 2")
        self.assertIsNone(verdict(terms, line(2)), "the present term goes on")
        self.assertIsNone(verdict(terms, line(1, pool="press_2")), "each pool has terms of its own")

    def test_a_restart_forgets_nothing(self):
        self.assertTrue(Terms(self.state).accepts("press_1", 7))
        self.assertFalse(Terms(self.state).accepts("press_1", 6))
        self.assertEqual(os.listdir(self.folder.name), ["terms.json"], "nothing is left lying about")

    def test_a_state_that_makes_no_sense_is_not_taken_for_an_empty_one(self):
        for text in ["", "[]", '{"press_1": "7"}']:
            with open(self.state, "w") as file:
                file.write(text)
            with self.assertRaises(Damaged):
                Terms(self.state)

    def test_what_bears_no_term_is_dropped(self):
        self.assertEqual(stamp({"properties": {"HA-Pool": "p", "Ha-Term": "12"}}), ("p", 12))
        for message in [{}, [], {"properties": {"ha-pool": "p"}}, {"properties": {"ha-pool": "p", "ha-term": "-1"}},
                        {"properties": {"ha-pool": "p", "ha-term": "1e3"}}, {"properties": {"ha-pool": "p", "ha-term": 1}}]:
            self.assertIsNone(stamp(message), message)
        self.assertEqual(verdict(Terms(), "nonsense"), "it is not JSON")

    def test_as_a_program(self):
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "term_consumer.py")
        lines = "".join(text + "\n" for text in [line(1, n=1), line(3, n=2), line(2, n=3), "{}", line(3, n=4)])
        ran = subprocess.run([sys.executable, script, "--state", self.state], input=lines, capture_output=True, text=True)
        self.assertEqual([json.loads(passed)["n"] for passed in ran.stdout.splitlines()], [1, 2, 4])
        self.assertEqual((ran.returncode, ran.stderr.count("dropped: ")), (0, 2))


if __name__ == "__main__":
    unittest.main()
