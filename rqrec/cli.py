"""The command `rqrec`: the first word names the command, the others are its arguments.

Every command imports its part of the package when it runs. So `rqrec --help` works without any extra.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rqrec import __version__

EXIT_REFUSED = 2
DESCRIPTION = """Trains a generative recommender and serves it.

commands:
  serve             serve a bundle over HTTP
  bulk              make the lists of all users of a file
  export-events     move users' events from the service's event store to files
  train             run every stage, from raw data to a published bundle
  retrain           go on from a bundle with the events that came after it
  train-rqvae       run the stages up to the RQ-VAE
  tokenize-items    run the stages up to the semantic IDs of all items
  train-short-term  run the stages up to the short-term encoder
  train-decoder     run the stages up to the retriever

`rqrec COMMAND --help` lists the options of a command."""
SERVE_DESCRIPTION = """Serves a bundle over HTTP.

The settings are environment variables: RQREC_BUNDLE names a bundle or a folder of bundles, RQREC_HOST and RQREC_PORT
the address. Without RQREC_BUNDLE, the folder artifacts/*/bundles that was published last is served. The README has a
table of all settings."""
RQVAE_DESCRIPTION = "Trains the RQ-VAE, the model that gives items their semantic IDs. Runs the stages before it first."
TOKENS_DESCRIPTION = (
    "Embeds all items and gives them semantic IDs. Runs the stages before it first. A large catalogue takes hours: "
    "--ray spreads it over a cluster. The same command goes on with the parts of an interrupted run."
)
SHORT_TERM_DESCRIPTION = (
    "Trains the short-term encoder, which learns what items follow each other. Runs the stage before it first."
)
DECODER_DESCRIPTION = "Trains the retriever, the model that generates semantic IDs. Runs the stages before it first."


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command; exits 2 with one line if an extra of the package is missing.

    Args:
        arguments: Words of the command line after `rqrec`; by default those of the process.
    """
    parser = argparse.ArgumentParser(
        "rqrec", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"rqrec {__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of the commands above")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="arguments of the command")
    options = parser.parse_args(arguments)
    COMMANDS[options.command](options.arguments)


def _serve(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        "rqrec serve", description=SERVE_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    _, unknown = parser.parse_known_args(arguments)
    if unknown:
        parser.error(
            f"unknown arguments {' '.join(unknown)}: use environment variables, as in RQREC_PORT=8001 rqrec serve"
        )
    with _extras("serve", "cpu"):
        from rqrec.service.__main__ import main as serve
    serve()


def _bulk(arguments: Sequence[str]) -> None:
    with _extras("bulk", "cpu,bulk,ray" if "--ray" in arguments else "cpu,bulk"):
        from rqrec.service.bulk.__main__ import main as bulk

        bulk(arguments)


def _export_events(arguments: Sequence[str]) -> None:
    with _extras("export-events", "cpu"):
        from rqrec.service.export_events.__main__ import main as export
    export(arguments)


def _train(arguments: Sequence[str]) -> None:
    with _extras("train", "cpu,train,text"):
        from rqrec.training import pipeline
        from rqrec.training.cli import stage_command
    stage_command(pipeline.train_and_publish, pipeline.__doc__, program="rqrec train", arguments=arguments)


def _retrain(arguments: Sequence[str]) -> None:
    with _extras("retrain", "cpu,train"):
        from rqrec.training.retrain.__main__ import main as retrain
    retrain(arguments)


def _train_rqvae(arguments: Sequence[str]) -> None:
    with _extras("train-rqvae", "cpu,train,text"):
        from rqrec.training.cli import stage_command
    stage_command(lambda run: run.rqvae, RQVAE_DESCRIPTION, program="rqrec train-rqvae", arguments=arguments)


def _tokenize_items(arguments: Sequence[str]) -> None:
    with _extras("tokenize-items", "cpu,train,text"):
        from rqrec.training.cli import stage_command
    stage_command(lambda run: run.tokens, TOKENS_DESCRIPTION, program="rqrec tokenize-items", arguments=arguments)


def _train_short_term(arguments: Sequence[str]) -> None:
    with _extras("train-short-term", "cpu,train,text"):
        from rqrec.training.cli import stage_command
    stage_command(
        lambda run: run.short_term, SHORT_TERM_DESCRIPTION, program="rqrec train-short-term", arguments=arguments
    )


def _train_decoder(arguments: Sequence[str]) -> None:
    with _extras("train-decoder", "cpu,train,text"):
        from rqrec.training.cli import stage_command
    stage_command(lambda run: run.decoder, DECODER_DESCRIPTION, program="rqrec train-decoder", arguments=arguments)


@contextmanager
def _extras(command: str, extras: str) -> Iterator[None]:
    """Turns a failed import of another package into one line that names the extras to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "rqrec").partition(".")[0]
        if package == "rqrec":
            raise
        print(
            f"rqrec {command}: the package {package!r} is not installed: install rqrec with its extras by pip, "
            f"as 'rqrec[{extras}]', or in its repository as '.[{extras}]'",
            file=sys.stderr,
        )
        sys.exit(EXIT_REFUSED)


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "serve": _serve,
    "bulk": _bulk,
    "export-events": _export_events,
    "train": _train,
    "retrain": _retrain,
    "train-rqvae": _train_rqvae,
    "tokenize-items": _tokenize_items,
    "train-short-term": _train_short_term,
    "train-decoder": _train_decoder,
}
