"""What stands before an HTTP server so that HTTPS is spoken: ends TLS and passes on the octets of both sides."""

import argparse
import asyncio
import os
import pathlib
import ssl
import urllib.parse


async def pass_on(reader, writer):
    try:
        while octets := await reader.read(65536):
            writer.write(octets)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def main(options):
    target = urllib.parse.urlsplit(options.to)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.certificate, options.key)

    async def serve(reader, writer):
        there = await asyncio.open_connection(target.hostname, target.port)
        await asyncio.gather(pass_on(reader, there[1]), pass_on(there[0], writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    told = pathlib.Path(options.port_file)
    told.with_suffix(".new").write_text(str(server.sockets[0].getsockname()[1]))
    os.replace(told.with_suffix(".new"), told)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("certificate", "key", "to", "port-file"):
        parser.add_argument(f"--{name}", required=True)
    asyncio.run(main(parser.parse_args()))
