"""Quotes prices by a flow whose tests stand beside it: `flow.py 3 200`."""

import sys

from quotes import Quote, build_flow

from penguiflow import FlowError


def main() -> int:
    flow, registry = build_flow()
    try:
        for pieces in sys.argv[1:] or ["3", "200"]:
            quote: Quote = flow.ask_sync({"pieces": pieces}, registry=registry)
            print(f"{quote.pieces} pieces: {quote.cents / 100:.2f}")
    except FlowError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
