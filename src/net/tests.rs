//! A panic, seen from the accept loop.

use super::*;

#[test]
fn a_panic_ends_its_own_connection_and_gives_its_place_back() {
    let serve = |mut stream: Stream, _| {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("the test sends one byte");
        assert_ne!(byte, *b"!", "this connection is to panic");
        stream.write_all(&byte).expect("the test reads it");
    };
    let gate = Gate::new(2, 2, Vec::new());
    let (serve, refuse) = (Box::new(serve), |_: &Refusal| Vec::new());
    let crew = Crew::new("test", 256 * 1024);
    let acceptor = Acceptor { name: "test", gate, tls: None, crew, serve, refuse };
    let acceptor = Arc::new(acceptor);
    let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let leaving = Arc::new(Leaving::new().unwrap());
    let door = Door::new(listener, Arc::clone(&leaving), Arc::default()).unwrap();
    let live = |number| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while acceptor.gate.live() != number {
            assert!(Instant::now() < deadline, "{} live", acceptor.gate.live());
            thread::sleep(Duration::from_millis(1));
        }
    };
    let accepts = Arc::clone(&acceptor);
    let run = move || accepts.run(&door);
    let accepting = thread::Builder::new().spawn(run).unwrap();
    let mut served = TcpStream::connect(address).unwrap();
    live(1);
    for _ in 0..5 {
        let mut panicking = TcpStream::connect(address).unwrap();
        live(2);
        panicking.write_all(b"!").unwrap();
        assert_eq!(panicking.read(&mut [0]).unwrap(), 0);
        live(1);
    }
    served.write_all(b"x").unwrap();
    let mut answer = [0];
    served.read_exact(&mut answer).unwrap();
    assert_eq!(answer, *b"x");
    live(0);
    leaving.set();
    accepting.join().unwrap();
}
