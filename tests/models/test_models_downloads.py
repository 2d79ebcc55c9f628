"""Published weights fetched from a server, a stand-in on this machine, into a run that ends."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import timm
import torch
from safetensors.torch import save_file

from cbam_ablate.torchvision_shim import import_torchvision

import_torchvision()
from torchvision.models import ResNet18_Weights, resnet18  # noqa: E402

RUN = ["data=synthetic", "data.train_size=32", "train.batch_size=16", "train.epochs=1", "train.threads=1"]


class Files(BaseHTTPRequestHandler):
    """Serves `server.files` by the last part of their path, with the headers of Hugging Face's hub."""

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.wfile.write(self.answer())

    def answer(self):
        body = self.server.files.get(self.path.rpartition("/")[2])
        self.server.asked.append(self.path)
        self.send_response(404 if body is None else 200)
        body = body or b""
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", 40 * "a")
        self.end_headers()
        return body

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        server.files, server.asked = {}, []
        server.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def trained(tmp_path, words, code="", **environment):
    """The result of a run in a process of its own that has nothing in its caches."""
    begun = f"{code}\nfrom cbam_ablate.cli import run\nimport sys\nsys.exit(run('train', sys.argv[1:]))"
    caches = {"TORCH_HOME": str(tmp_path / "torch"), "HF_HOME": str(tmp_path / "hf")}
    done = subprocess.run(
        [sys.executable, "-c", begun, *RUN, f"store={tmp_path / 'store'}", *words],
        env={**os.environ, **caches, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (result,) = (tmp_path / "store" / "runs").glob("*/result.json")
    return json.loads(result.read_text())


@pytest.mark.slow
def test_torchvisions_weights_are_fetched_into_a_run_that_ends(server, tmp_path):
    torch.save(resnet18().state_dict(), tmp_path / "weights.pth")
    body = (tmp_path / "weights.pth").read_bytes()
    name = f"resnet18-{hashlib.sha256(body).hexdigest()[:8]}.pth"
    server.files[name] = body
    published = ResNet18_Weights.IMAGENET1K_V1
    moved = (
        "from cbam_ablate.torchvision_shim import import_torchvision; import_torchvision()\n"
        "from torchvision.models import ResNet18_Weights\n"
        f"ResNet18_Weights.{published.name}.value.url = '{server.address}/{name}'"
    )
    words = ["backbone=resnet_imagenet", "depth=18", "model.stem=imagenet", "model.pretrained=imagenet"]
    found = trained(tmp_path, words, moved)
    assert server.asked == [f"/{name}"]
    assert found["pretrained"]["layout"] == "torchvision"
    assert (
        found["pretrained"]["loaded"] == len(resnet18().state_dict()) - 2
    )  # the classifier is of 10 classes


@pytest.mark.slow
def test_timms_weights_are_fetched_into_a_run_that_ends(server, tmp_path):
    network = timm.create_model("resnet10t")
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    server.files["model.safetensors"] = (tmp_path / "model.safetensors").read_bytes()
    words = ["backbone=timm", "model.timm=resnet10t", "model.pretrained=imagenet", "placement=block"]
    found = trained(tmp_path, words, HF_ENDPOINT=server.address, HF_HUB_DISABLE_XET="1")
    assert any(path.endswith("/resolve/main/model.safetensors") for path in server.asked)
    assert found["pretrained"]["loaded"] == len(network.state_dict()) - 2
