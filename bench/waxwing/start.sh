# Everything to the receiver by a route, as the others; 20 connections to it, as the others. Defaults otherwise: logging each
# message, keeping bodies and events, verifying certificates. Signing is off, since nobody else signs here.
start_server WAXWING_ROUTES="[{ domain = \"*\", host = \"127.0.0.1:$sink_port\" }]" WAXWING_CONCURRENCY_PER_SITE=20 WAXWING_IDLE_CONNECTIONS_PER_HOST=20
new_sender none
[ "$name" != waxwing-http ] || way=http
