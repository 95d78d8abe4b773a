# docker build -t swob_gateway_server .
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev libssl-dev make pkg-config
WORKDIR /src
COPY . .
RUN cargo build --release --locked
# Settings: both ports open to the container's network, key and ring on the volume.
RUN sed -e 's|^#listen = 127.0.0.1:15000$|listen = 0.0.0.0:15000|' -e 's|^#listen = 127.0.0.1:6996$|listen = 0.0.0.0:6996|' \
        -e 's|^#private_key = server.key$|private_key = /var/lib/swob-gateway/server.key|' gateway.ini >/gateway.ini

FROM debian:bookworm-slim
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates libssl3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 990 --user-group --no-create-home --shell /usr/sbin/nologin swob-gateway \
    && install -d -m 700 -o swob-gateway -g swob-gateway /var/lib/swob-gateway
COPY --from=build /src/target/release/swob-gateway /usr/local/bin/
COPY --from=build /gateway.ini /etc/swob-gateway/gateway.ini
USER swob-gateway
WORKDIR /var/lib/swob-gateway
VOLUME /var/lib/swob-gateway
EXPOSE 15000 6996
# It asks the server's own /livez: a database that is away does not make the server unhealthy.
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/15001 && printf 'GET /livez HTTP/1.0\\r\\n\\r\\n' >&3 && grep -q ^alive <&3"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["swob-gateway"]
CMD ["serve"]
