//! Guests that look for the network, and for the machine's own services: without a grant they reach nothing, with one what
//! it names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, ToSocketAddrs as _};

use weir_isolation::{Bench, Guest};
use weir_sandbox::NetworkPolicy;
use weir_wire::task::{Reason, Status};

/// The cases of `error-code`.
const ERRORS: &str = r#""unknown" "access-denied" "not-supported" "invalid-argument" "out-of-memory" "timeout"
    "concurrency-conflict" "not-in-progress" "would-block" "invalid-state" "new-socket-limit" "address-not-bindable"
    "address-in-use" "remote-unreachable" "connection-refused" "connection-reset" "connection-aborted"
    "datagram-too-large" "name-unresolvable" "temporary-resolver-failure" "permanent-resolver-failure""#;

/// A preview 2 command that opens a socket and connects it to `ADDRESS`, four bytes, and `PORT`. It fails if it is
/// denied, and traps if it is not.
const CONNECT: &str = r#"(component
    (import "wasi:io/poll@0.2.0" (instance $poll
        (export "pollable" (type $pollable (sub resource)))
        (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
    (alias export $poll "pollable" (type $pollable))
    (import "wasi:sockets/network@0.2.0" (instance $network
        (export "network" (type (sub resource)))
        (type $error' (enum ERRORS))
        (export "error-code" (type (eq $error')))
        (type $family' (enum "ipv4" "ipv6"))
        (export "ip-address-family" (type (eq $family')))
        (type $v4' (tuple u8 u8 u8 u8))
        (export "ipv4-address" (type $v4 (eq $v4')))
        (type $v6' (tuple u16 u16 u16 u16 u16 u16 u16 u16))
        (export "ipv6-address" (type $v6 (eq $v6')))
        (type $socket4' (record (field "port" u16) (field "address" $v4)))
        (export "ipv4-socket-address" (type $socket4 (eq $socket4')))
        (type $socket6' (record (field "port" u16) (field "flow-info" u32) (field "address" $v6) (field "scope-id" u32)))
        (export "ipv6-socket-address" (type $socket6 (eq $socket6')))
        (type $address' (variant (case "ipv4" $socket4) (case "ipv6" $socket6)))
        (export "ip-socket-address" (type (eq $address')))))
    (alias export $network "network" (type $net))
    (alias export $network "error-code" (type $error))
    (alias export $network "ip-address-family" (type $family))
    (alias export $network "ip-socket-address" (type $address))
    (import "wasi:sockets/instance-network@0.2.0" (instance $own
        (alias outer 1 $net (type $net'))
        (export "network" (type $net (eq $net')))
        (export "instance-network" (func (result (own $net))))))
    (import "wasi:sockets/tcp@0.2.0" (instance $tcp
        (alias outer 1 $net (type $net'))
        (export "network" (type $net (eq $net')))
        (alias outer 1 $error (type $error'))
        (export "error-code" (type $error (eq $error')))
        (alias outer 1 $address (type $address'))
        (export "ip-socket-address" (type $address (eq $address')))
        (alias outer 1 $pollable (type $pollable'))
        (export "pollable" (type $pollable'' (eq $pollable')))
        (export "tcp-socket" (type $socket (sub resource)))
        (export "[method]tcp-socket.subscribe"
            (func (param "self" (borrow $socket)) (result (own $pollable''))))
        (export "[method]tcp-socket.start-connect" (func (param "self" (borrow $socket))
            (param "network" (borrow $net)) (param "remote-address" $address) (result (result (error $error)))))))
    (alias export $tcp "tcp-socket" (type $socket))
    (import "wasi:sockets/tcp-create-socket@0.2.0" (instance $create
        (alias outer 1 $error (type $error'))
        (export "error-code" (type $error (eq $error')))
        (alias outer 1 $family (type $family'))
        (export "ip-address-family" (type $family (eq $family')))
        (alias outer 1 $socket (type $socket'))
        (export "tcp-socket" (type $socket (eq $socket')))
        (export "create-tcp-socket" (func (param "address-family" $family) (result (result (own $socket) (error $error)))))))
    (core module $memory (memory (export "memory") 1))
    (core instance $memory (instantiate $memory))
    (alias core export $memory "memory" (core memory $bytes))
    (core func $own (canon lower (func $own "instance-network")))
    (core func $create (canon lower (func $create "create-tcp-socket") (memory $bytes)))
    (core func $connect (canon lower (func $tcp "[method]tcp-socket.start-connect") (memory $bytes)))
    (core func $subscribe (canon lower (func $tcp "[method]tcp-socket.subscribe")))
    (core func $block (canon lower (func $poll "[method]pollable.block")))
    (core module $code
        (import "memory" "memory" (memory 1))
        (import "host" "subscribe" (func $subscribe (param i32) (result i32)))
        (import "host" "block" (func $block (param i32)))
        (import "host" "own" (func $own (result i32)))
        (import "host" "create" (func $create (param i32 i32)))
        (import "host" "connect" (func $connect (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
        (func (export "run") (result i32)
            (call $create (i32.const 0) (i32.const 16))
            ;; No socket at all is as good as none that connects.
            (if (i32.load8_u (i32.const 16)) (then (return (i32.const 1))))
            (call $connect (i32.load (i32.const 20)) (call $own) (i32.const 0) (i32.const PORT)
                ADDRESS (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                (i32.const 32))
            (if (i32.eqz (i32.load8_u (i32.const 32))) (then
                (call $block (call $subscribe (i32.load (i32.const 20))))
                unreachable))
            (i32.ne (i32.load8_u (i32.const 33)) (i32.const 99))))
    (core instance $code (instantiate $code (with "memory" (instance $memory)) (with "host" (instance
        (export "subscribe" (func $subscribe)) (export "block" (func $block))
        (export "own" (func $own)) (export "create" (func $create)) (export "connect" (func $connect))))))
    (func $run (result (result)) (canon lift (core func $code "run")))
    (instance $interface (export "run" (func $run)))
    (export "wasi:cli/run@0.2.0" (instance $interface)))"#;

/// A preview 2 command that asks for the addresses of `localhost`, and fails unless there are `COUNT` of them and then no
/// more. It traps unless it is refused those of `weir`.
const NAMES: &str = r#"(component
    (import "wasi:sockets/network@0.2.0" (instance $network
        (export "network" (type (sub resource)))
        (type $error' (enum ERRORS))
        (export "error-code" (type (eq $error')))
        (type $v4' (tuple u8 u8 u8 u8))
        (export "ipv4-address" (type $v4 (eq $v4')))
        (type $v6' (tuple u16 u16 u16 u16 u16 u16 u16 u16))
        (export "ipv6-address" (type $v6 (eq $v6')))
        (type $address' (variant (case "ipv4" $v4) (case "ipv6" $v6)))
        (export "ip-address" (type (eq $address')))))
    (alias export $network "network" (type $net))
    (alias export $network "error-code" (type $error))
    (alias export $network "ip-address" (type $address))
    (import "wasi:sockets/instance-network@0.2.0" (instance $own
        (alias outer 1 $net (type $net'))
        (export "network" (type $net (eq $net')))
        (export "instance-network" (func (result (own $net))))))
    (import "wasi:sockets/ip-name-lookup@0.2.0" (instance $lookup
        (alias outer 1 $net (type $net'))
        (export "network" (type $net (eq $net')))
        (alias outer 1 $error (type $error'))
        (export "error-code" (type $error (eq $error')))
        (alias outer 1 $address (type $address'))
        (export "ip-address" (type $address (eq $address')))
        (export "resolve-address-stream" (type $stream (sub resource)))
        (export "resolve-addresses" (func (param "network" (borrow $net)) (param "name" string)
            (result (result (own $stream) (error $error)))))
        (export "[method]resolve-address-stream.resolve-next-address" (func (param "self" (borrow $stream))
            (result (result (option $address) (error $error)))))))
    (alias export $lookup "resolve-address-stream" (type $stream))
    (core module $memory (memory (export "memory") 1) (data (i32.const 64) "localhostweir"))
    (core instance $memory (instantiate $memory))
    (alias core export $memory "memory" (core memory $bytes))
    (core func $own (canon lower (func $own "instance-network")))
    (core func $resolve (canon lower (func $lookup "resolve-addresses") (memory $bytes)))
    (core func $next (canon lower
        (func $lookup "[method]resolve-address-stream.resolve-next-address") (memory $bytes)))
    (core func $drop (canon resource.drop $stream))
    (core module $code
        (import "memory" "memory" (memory 1))
        (import "host" "own" (func $own (result i32)))
        (import "host" "resolve" (func $resolve (param i32 i32 i32 i32)))
        (import "host" "next" (func $next (param i32 i32)))
        (import "host" "drop" (func $drop (param i32)))
        (func (export "run") (result i32) (local $network i32) (local $count i32)
            (local.set $network (call $own))
            (call $resolve (local.get $network) (i32.const 73) (i32.const 4) (i32.const 16))
            (if (i32.eqz (i32.load8_u (i32.const 16))) (then unreachable))
            (if (i32.ne (i32.load8_u (i32.const 20)) (i32.const 1)) (then unreachable))
            (call $resolve (local.get $network) (i32.const 64) (i32.const 9) (i32.const 16))
            (if (i32.load8_u (i32.const 16)) (then unreachable))
            (block $end
                (loop $more
                    (call $next (i32.load (i32.const 20)) (i32.const 32))
                    (if (i32.load8_u (i32.const 32)) (then unreachable))
                    (br_if $end (i32.eqz (i32.load8_u (i32.const 34))))
                    (local.set $count (i32.add (local.get $count) (i32.const 1)))
                    (br $more)))
            (call $drop (i32.load (i32.const 20)))
            (i32.ne (local.get $count) (i32.const COUNT))))
    (core instance $code (instantiate $code (with "memory" (instance $memory)) (with "host" (instance
        (export "own" (func $own)) (export "resolve" (func $resolve)) (export "next" (func $next))
        (export "drop" (func $drop))))))
    (func $run (result (result)) (canon lift (core func $code "run")))
    (instance $interface (export "run" (func $run)))
    (export "wasi:cli/run@0.2.0" (instance $interface)))"#;

/// A preview 2 command that makes sockets until it is refused one, and gives each buffers of a gigabyte. It traps if a buffer
/// is larger than `BYTES` then, and fails unless there are `COUNT` sockets, and one more for one that it gives back.
const SOCKETS: &str = r#"(component
    (import "wasi:sockets/network@0.2.0" (instance $network
        (type $error' (enum ERRORS))
        (export "error-code" (type (eq $error')))
        (type $family' (enum "ipv4" "ipv6"))
        (export "ip-address-family" (type (eq $family')))))
    (alias export $network "error-code" (type $error))
    (alias export $network "ip-address-family" (type $family))
    (import "wasi:sockets/tcp@0.2.0" (instance $tcp
        (alias outer 1 $error (type $error'))
        (export "error-code" (type $error (eq $error')))
        (export "tcp-socket" (type $socket (sub resource)))
        (export "[method]tcp-socket.set-receive-buffer-size"
            (func (param "self" (borrow $socket)) (param "value" u64) (result (result (error $error)))))
        (export "[method]tcp-socket.receive-buffer-size"
            (func (param "self" (borrow $socket)) (result (result u64 (error $error)))))
        (export "[method]tcp-socket.set-send-buffer-size"
            (func (param "self" (borrow $socket)) (param "value" u64) (result (result (error $error)))))
        (export "[method]tcp-socket.send-buffer-size"
            (func (param "self" (borrow $socket)) (result (result u64 (error $error)))))))
    (alias export $tcp "tcp-socket" (type $socket))
    (import "wasi:sockets/tcp-create-socket@0.2.0" (instance $create
        (alias outer 1 $error (type $error'))
        (export "error-code" (type $error (eq $error')))
        (alias outer 1 $family (type $family'))
        (export "ip-address-family" (type $family (eq $family')))
        (alias outer 1 $socket (type $socket'))
        (export "tcp-socket" (type $socket (eq $socket')))
        (export "create-tcp-socket" (func (param "address-family" $family) (result (result (own $socket) (error $error)))))))
    (core module $memory (memory (export "memory") 1))
    (core instance $memory (instantiate $memory))
    (alias core export $memory "memory" (core memory $bytes))
    (core func $create (canon lower (func $create "create-tcp-socket") (memory $bytes)))
    (core func $set-in (canon lower (func $tcp "[method]tcp-socket.set-receive-buffer-size") (memory $bytes)))
    (core func $in (canon lower (func $tcp "[method]tcp-socket.receive-buffer-size") (memory $bytes)))
    (core func $set-out (canon lower (func $tcp "[method]tcp-socket.set-send-buffer-size") (memory $bytes)))
    (core func $out (canon lower (func $tcp "[method]tcp-socket.send-buffer-size") (memory $bytes)))
    (core func $drop (canon resource.drop $socket))
    (core module $code
        (import "memory" "memory" (memory 1))
        (import "host" "create" (func $create (param i32 i32)))
        (import "host" "set-in" (func $set-in (param i32 i64 i32)))
        (import "host" "in" (func $in (param i32 i32)))
        (import "host" "set-out" (func $set-out (param i32 i64 i32)))
        (import "host" "out" (func $out (param i32 i32)))
        (import "host" "drop" (func $drop (param i32)))
        (func $is-small
            (if (i32.load8_u (i32.const 32)) (then unreachable))
            (if (i64.gt_u (i64.load (i32.const 40)) (i64.const BYTES)) (then unreachable)))
        (func $made (result i32) (local $socket i32)
            (call $create (i32.const 0) (i32.const 16))
            (local.set $socket (i32.load (i32.const 20)))
            (if (i32.load8_u (i32.const 16)) (then
                ;; `new-socket-limit`
                (if (i32.ne (i32.load8_u (i32.const 20)) (i32.const 10)) (then unreachable))
                (return (i32.const 0))))
            (call $in (local.get $socket) (i32.const 32)) (call $is-small)
            (call $out (local.get $socket) (i32.const 32)) (call $is-small)
            (call $set-in (local.get $socket) (i64.const 0x40000000) (i32.const 32))
            (call $in (local.get $socket) (i32.const 32)) (call $is-small)
            (call $set-out (local.get $socket) (i64.const 0x40000000) (i32.const 32))
            (call $out (local.get $socket) (i32.const 32)) (call $is-small)
            (local.get $socket))
        (func (export "run") (result i32) (local $socket i32) (local $last i32) (local $count i32)
            (block $end
                (loop $more
                    (local.set $last (local.get $socket))
                    (local.set $socket (call $made))
                    (br_if $end (i32.eqz (local.get $socket)))
                    (local.set $count (i32.add (local.get $count) (i32.const 1)))
                    (br $more)))
            (call $drop (local.get $last))
            (if (i32.eqz (call $made)) (then (return (i32.const 1))))
            (if (call $made) (then (return (i32.const 1))))
            (i32.ne (local.get $count) (i32.const COUNT))))
    (core instance $code (instantiate $code (with "memory" (instance $memory)) (with "host" (instance
        (export "create" (func $create)) (export "set-in" (func $set-in)) (export "in" (func $in))
        (export "set-out" (func $set-out)) (export "out" (func $out)) (export "drop" (func $drop))))))
    (func $run (result (result)) (canon lift (core func $code "run")))
    (instance $interface (export "run" (func $run)))
    (export "wasi:cli/run@0.2.0" (instance $interface)))"#;

fn connect(address: [u8; 4], port: u16) -> Guest {
    let address: String = address.iter().map(|byte| format!("(i32.const {byte})")).collect();
    Guest::new(CONNECT.replace("ERRORS", ERRORS).replace("ADDRESS", &address).replace("PORT", &port.to_string()))
}

#[test]
fn nothing_can_be_connected_to() {
    let mut bench = Bench::new();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    // This machine, the usual address of a cloud's metadata, and somewhere else.
    for (address, port) in [([127, 0, 0, 1], port), ([169, 254, 169, 254], 80), ([192, 0, 2, 1], 443)] {
        let end = bench.run_among_neighbours(&connect(address, port));
        assert_eq!((end.status(), end.reason()), (Status::Failed, Some(Reason::ExitNonzero)), "{address:?}: {end:?}");
    }
    assert!(listener.accept().is_err(), "a guest has connected");
}

fn networked() -> Bench {
    Bench::configured(|config| config.network = NetworkPolicy::parse(&["127.0.0.1", "127.0.0.2"]).expect("addresses"))
}

/// Whether a guest that tries to connect arrives. Where it may begin to, it traps then.
fn arrives(bench: &mut Bench, guest: &Guest, listener: &TcpListener) -> bool {
    let end = bench.run_among_neighbours(guest);
    assert!(matches!(end.reason(), Some(Reason::ExitNonzero | Reason::Trap)), "{end:?}");
    listener.accept().is_ok()
}

#[test]
fn only_what_is_granted_can_be_connected_to() {
    let mut bench = networked();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let to = || connect([127, 0, 0, 1], port);
    assert!(!arrives(&mut bench, &to(), &listener), "without a grant");
    assert!(!arrives(&mut bench, &to().net("127.0.0.1", port ^ 1), &listener), "with one for another port");
    assert!(!arrives(&mut bench, &to().net("127.0.0.2", port), &listener), "with one for another address");
    assert!(arrives(&mut bench, &to().net("127.0.0.2", port).net("127.0.0.1", port), &listener), "with its own");
    // The next attempt has nothing of it.
    assert!(!arrives(&mut bench, &to(), &listener));
}

#[test]
fn nothing_is_connected_to_where_no_network_is_offered() {
    let end = Bench::new().run(&connect([127, 0, 0, 1], 9).net("127.0.0.1", 9));
    assert_eq!(end.reason(), Some(Reason::CapabilityDenied), "{end:?}");
}

#[test]
fn what_the_operator_does_not_list_is_refused_by_name_and_by_address() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut bench = Bench::configured(|config| config.network = NetworkPolicy::parse(&["public"]).unwrap());
    for host in ["localhost", "127.0.0.1", "169.254.169.254"] {
        let end = bench.run_among_neighbours(&connect([127, 0, 0, 1], port).net(host, port));
        assert_eq!(end.reason(), Some(Reason::CapabilityDenied), "{end:?}");
        let message = &end.failure().unwrap().message;
        assert!(message.contains(&format!("connect to {host:?}")), "{message}");
    }
}

#[test]
fn a_name_leads_to_this_machine_where_the_operator_lists_it() {
    let mut bench = networked();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    assert!(arrives(&mut bench, &connect([127, 0, 0, 1], port).net("localhost", port), &listener));
}

#[test]
fn a_name_has_all_its_addresses() {
    let allowed = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
    let texts = allowed.map(|address| address.to_string());
    let mut bench = Bench::configured(|config| config.network = NetworkPolicy::parse(&texts).expect("addresses"));
    let found = ("localhost", 0).to_socket_addrs().expect("this machine has a name");
    let count = found.filter(|found| allowed.contains(&found.ip())).count();
    let wasm = NAMES.replace("ERRORS", ERRORS).replace("COUNT", &count.to_string());
    let end = bench.run_among_neighbours(&Guest::new(wasm).net("localhost", 443));
    assert_eq!(end.status(), Status::Succeeded, "{end:?}");
}

#[test]
fn sockets_are_few_and_have_small_buffers() {
    let mut bench = networked();
    let wasm = SOCKETS.replace("ERRORS", ERRORS).replace("COUNT", "32").replace("BYTES", &(128 << 10).to_string());
    let end = bench.run_among_neighbours(&Guest::new(wasm).net("127.0.0.1", 443));
    assert_eq!(end.status(), Status::Succeeded, "{end:?}");
}

#[test]
fn a_module_that_imports_a_way_to_connect_is_refused() {
    let module = r#"(module
        (import "wasi_snapshot_preview1" "sock_connect" (func (param i32 i32 i32) (result i32)))
        (memory (export "memory") 1) (func (export "_start")))"#;
    let refused = Bench::new().prepare(module.as_bytes()).refused.expect("refused");
    assert!(refused.contains("sock_connect"), "{refused}");
}
