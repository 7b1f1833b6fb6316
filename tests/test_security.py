"""What `SECURITY.md` promises; that files cannot hurt is in the tests of files."""

import subprocess
import sys

CODE = """
import socket
import sys

REACHED = []


def refuse(event, arguments):
    if event.startswith(("socket.", "urllib.", "http.", "ftplib.", "smtplib.")):
        REACHED.append(event)
        raise PermissionError(event)


sys.addaudithook(refuse)

import numpy as np

import anyback_nn as nn
from anyback_nn.cli import main
from anyback_nn.sklearn import MLPClassifier

for arguments in (
    ["train", "moons", "--epochs", "2", "--output", "run"],
    ["train", "table.csv", "--target", "y", "--epochs", "2", "--output", "of_table"],
    ["evaluate", "run", "moons"],
    ["predict", "of_table", "table.csv"],
    ["inspect", "run"],
):
    status = main(arguments)
    assert status == 0, arguments
for name in "moons", "digits":
    nn.datasets.load(name)
MLPClassifier(max_iter=2).fit(np.eye(4), [0, 1, 0, 1]).predict(np.eye(4))
assert not REACHED, REACHED

try:  # as anything would have been noticed
    socket.create_connection(("127.0.0.1", 9))
except PermissionError:
    assert REACHED
    print("nothing reached the network")
"""


def test_nothing_reaches_the_network(tmp_path):
    rows = "".join(f"{i % 7},{i % 5},{'ab'[i % 2]}\n" for i in range(60))
    (tmp_path / "table.csv").write_text(f"u,v,y\n{rows}")
    command = [sys.executable, "-W", "ignore", "-c", CODE]
    outcome = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.splitlines()[-1] == "nothing reached the network"
