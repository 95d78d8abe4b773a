# `make help` lists what there is to make.

PREFIX  = /usr/local
TARGET  = $(or $(CARGO_TARGET_DIR),target)
PROGRAM = $(TARGET)/release/swob-gateway
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
MARIADB = test/support/mariadb.sh run $(TARGET)/mariadb-$@ --

# /etc belongs to both usual prefixes: the one place where an administrator looks.
SYSCONFDIR = $(if $(filter /usr /usr/local,$(PREFIX)),/etc,$(PREFIX)/etc)

bin    = $(DESTDIR)$(PREFIX)/bin
etc    = $(DESTDIR)$(SYSCONFDIR)/swob-gateway
share  = $(DESTDIR)$(PREFIX)/share/swob-gateway
man    = $(DESTDIR)$(PREFIX)/share/man/man8
lib    = $(DESTDIR)$(PREFIX)/lib
# From the files here, which speak of /usr/local, to those of this PREFIX.
place  = sed -e 's|/usr/local/|$(PREFIX)/|g' -e 's|/etc/swob-gateway|$(SYSCONFDIR)/swob-gateway|g'
# The server's account writes its own folder alone, so the key is there and not beside gateway.ini.
own    = sed -e 's|^\#private_key = server.key$$|private_key = /var/lib/swob-gateway/server.key|' \
             -e 's|^\#ring =$$|ring = /var/lib/swob-gateway/ring|'
units  = swob-gateway.service doc/service/swob-gateway.socket
recipes = $(wildcard doc/proxy/*)
manual = $(wildcard doc/swob-gateway.8)

.PHONY: all install uninstall deb dev test test-users test-websocket test-rsa test-service test-monitoring test-attacks test-doctor test-handshake test-browser pictures monitoring-picture bench curves timing chaos attacks fuzz soak check setup websocat clean help

all:            ## build the server (the default)
	cargo build --release --locked

# It builds nothing, since the root who installs often has no Rust.
install:        ## install what `make` built, under $(DESTDIR)$(PREFIX)
	@test -x $(PROGRAM) || { echo "$(PROGRAM) is not built; run make first" >&2; exit 1; }
	install -D -m 755 $(PROGRAM) $(bin)/swob-gateway
	install -d $(etc) $(share)/proxy $(share)/fail2ban $(lib)/systemd/system $(lib)/sysusers.d $(lib)/tmpfiles.d $(lib)/sysctl.d
	test -e $(etc)/gateway.ini || { umask 027 && $(own) gateway.ini >$(etc)/gateway.ini; }
	install -m 644 sql/gateway.sql sql/grants.sql doc/service/small.conf $(share)
	install -m 644 $(recipes) $(share)/proxy
	chmod 755 $(share)/proxy/renewal-hook
	cp -r doc/fail2ban/* $(share)/fail2ban
	chmod -R u=rwX,go=rX $(share)/fail2ban
	umask 022 && for unit in $(units); do $(place) $$unit >$(lib)/systemd/system/$${unit##*/} || exit; done
	umask 022 && $(place) doc/service/tmpfiles.conf >$(lib)/tmpfiles.d/swob-gateway.conf
	install -m 644 doc/service/sysusers.conf $(lib)/sysusers.d/swob-gateway.conf
	install -m 644 doc/service/sysctl.conf $(lib)/sysctl.d/60-swob-gateway.conf
	test -z "$(manual)" || install -D -m 644 -t $(man) $(manual)
	umask 022 && $(place) doc/service/installed.sh >$(share)/installed.sh && chmod 755 $(share)/installed.sh
	test -n "$(DESTDIR)" || $(share)/installed.sh

uninstall:      ## remove it again, but for gateway.ini, keys and account
	test -n "$(DESTDIR)" || ! test -d /run/systemd/system || systemctl --quiet disable --now swob-gateway.socket swob-gateway.service || true
	rm -f $(bin)/swob-gateway $(man)/swob-gateway.8
	rm -f $(addprefix $(lib)/systemd/system/,$(notdir $(units)))
	rm -f $(lib)/sysusers.d/swob-gateway.conf $(lib)/tmpfiles.d/swob-gateway.conf $(lib)/sysctl.d/60-swob-gateway.conf
	rm -rf $(share)
	for folder in $(lib)/systemd/system $(lib)/systemd $(lib)/sysusers.d $(lib)/tmpfiles.d $(lib)/sysctl.d; do \
	    rmdir $$folder 2>/dev/null || true; done

deb:            ## a Debian package of what `make` built, in $(TARGET)/deb
	@test -x $(PROGRAM) || { echo "$(PROGRAM) is not built; run make first" >&2; exit 1; }
	@doc/service/deb/build $(PROGRAM) $(or $(DEB),$(TARGET)/deb) $(VERSION)

dev:            ## serve on a private database with development data, until Ctrl-C
	@test/support/dev.sh

test: websocat test-browser  ## all tests, on a throw-away database
	$(MARIADB) cargo test --locked
	DEV_PROFILE=dev test/support/dev.sh run test/handshake.sh

# A name that no test has would pass, so each is looked up first.
test-users: ## the users model
test-monitoring: ## dashboard and alerts on a real Prometheus
test-websocket: ## the sync socket
test-rsa: ## encryption and decryption
test-users test-websocket test-rsa test-monitoring: test-%: setup
	cargo test --locked --test integration $*:: -- --list | grep ': test$$'
	$(MARIADB) cargo test --locked --test integration $*::

test-attacks: setup ## what strangers try, with figures
	$(MARIADB) cargo test --locked --test integration attacks:: -- --nocapture --test-threads 1

# As root, and not part of `make test`: it boots a Debian.
test-service:   ## the package's life and the service's, under a systemd as process 1
	PROGRAM=$(PROGRAM) MACHINES=$(TARGET)/machines test/service.sh

test-doctor: setup ## faults planted in proxies, databases and a clock, and what the doctor says of each
	$(MARIADB) cargo test --locked --test integration doctor_faults:: -- --nocapture --test-threads 1

test-handshake: setup websocat ## the entire handshake, with curl, openssl and websocat
	DEV_PROFILE=dev test/support/dev.sh run test/handshake.sh

chaos: setup    ## 20,000 handshakes while the gateway and its database are killed
	CHAOS_HANDSHAKES=$(or $(CHAOS_HANDSHAKES),20000) cargo test --locked --test chaos what_is -- --nocapture

attacks: setup  ## 9,000 half-open connections, a million requests, and the other ways to starve a server
	TEST_LONG=1 $(MARIADB) cargo test --locked --test integration starvation:: -- --test-threads 1

timing: setup   ## whether a 401 or a 400 tells by its time what it must not tell
	$(MARIADB) cargo bench --locked --bench timing

soak: setup     ## the long forms: quiet for 3 minutes behind each proxy, 1,000 TLS sockets, a proxy that cuts after 10 s
	TEST_SOAK=1 $(MARIADB) cargo test --locked --release --test integration -- \
	    --nocapture --test-threads=5 proxy:: doctor_faults:: tls::a_tls_socket

bench:          ## speed and capacity beside reference servers: a table, and lines of JSON
bench curves: $(TARGET)/bench/release/swob-bench
	cargo build --release --locked
	$(MARIADB) $< $(PROGRAM) $(and $(filter curves,$@),curves doc)

curves:         ## how memory, lateness and handshakes grow, as the pictures doc/curve-*.svg

$(TARGET)/bench/release/swob-bench: test/bench/Cargo.toml test/bench/Cargo.lock $(wildcard test/bench/src/*.rs)
	@test/support/setup.sh
	cargo build --release --locked --manifest-path test/bench/Cargo.toml --target-dir $(TARGET)/bench

test-browser: $(TARGET)/browser/node_modules ## the sync page in Chromium, its QR code through a scanner
	@test/support/setup.sh tests
	$(MARIADB) cargo test --locked --test browser -- --nocapture

pictures: $(TARGET)/browser/node_modules ## the README's pictures in doc/, from the running server
	@test/support/setup.sh tests
	$(MARIADB) cargo test --locked --test browser pictures
	install -D -m 644 -t doc $(TARGET)/tmp/pictures/*

# Two minutes of load, drawn without Grafana.
monitoring-picture: setup ## doc/monitoring/dashboard.svg, drawn from the dashboard's queries on a real Prometheus
	TEST_PICTURE_SECONDS=120 $(MARIADB) cargo test --locked --test integration every_query
	install -D -m 644 -t doc/monitoring $(TARGET)/tmp/monitoring/dashboard.svg

# axe, which checks whether everyone can use the page.
$(TARGET)/browser/node_modules: test/browser/package.json test/browser/package-lock.json
	@test/support/setup.sh tests
	install -D -m 644 -t $(TARGET)/browser $^
	cd $(TARGET)/browser && npm ci --ignore-scripts --no-audit --no-fund
	touch $@

check: setup    ## what CI runs: format, lints, documentation, all tests
	cargo fmt --check
	cargo fmt --check --manifest-path test/bench/Cargo.toml
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --test browser -- -D warnings
	cargo clippy --locked --manifest-path test/bench/Cargo.toml --target-dir $(TARGET)/bench -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items
	$(MAKE) test

fuzz: $(TARGET)/tools/bin/cargo-fuzz  ## run each fuzzer for FUZZ_SECONDS (60)
	@PATH="$(abspath $(TARGET)/tools/bin):$$PATH" test/fuzz/run.sh

$(TARGET)/tools/bin/cargo-fuzz: | setup
	cargo install cargo-fuzz --version 0.13.2 --locked --root $(TARGET)/tools

setup:          ## install the Debian packages that building and testing want
	@test/support/setup.sh tests

websocat: $(TARGET)/tools/bin/websocat  ## build websocat, once

$(TARGET)/tools/bin/websocat: | setup
	cargo install websocat --version 1.14.1 --locked --root $(TARGET)/tools

clean:          ## remove all that was built; the data of `make dev` stay in .dev/
	cargo clean

help:           ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16
