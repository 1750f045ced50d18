"""`transformers serve`: OpenAI's chat, streamed, from a local folder and without a network."""

from tests.servers.environments import environment
from tests.servers.process import refused_port
from tests.servers.running import Running, program

START = "import sys; from transformers.cli.transformers import main; sys.exit(main())"


def transformers_serve(model, work):
    """Return the server of the folder `model`; `work` is an empty folder of its own.

    Its list of models holds those of its own cache only, here none, and so fails; the harness then
    does without.
    """
    folder = environment("transformers-serve")
    port = refused_port()
    address = f"http://127.0.0.1:{port}"
    options = ["--host", "127.0.0.1", "--port", port, "--device", "cpu"]
    return Running(
        [program(folder, "python"), "-c", START, "serve", model, *options],
        url=f"{address}/v1",
        ready_url=f"{address}/health",
        log=work / "transformers-serve.log",
        environment={"HF_HUB_OFFLINE": "1", "HF_HOME": str(work / "hf"), "OMP_NUM_THREADS": "1"},
    )
