//! Clients that hold a session without getting on, in virtual time.

use tokio::time::Instant;

use super::*;

/// Sends `before`, then an octet every four minutes; returns how long the server took that, and its replies.
async fn drip(address: SocketAddr, before: &[u8], octet: u8) -> (Duration, String) {
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(before).await.unwrap();
    let since = Instant::now();
    let mut replies = String::new();
    loop {
        let mut buffer = [0; 4096];
        match timeout(Duration::from_secs(240), client.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => return (since.elapsed(), replies),
            Ok(Ok(read)) => replies.push_str(std::str::from_utf8(&buffer[..read]).unwrap()),
            Err(_) => {
                assert!(since.elapsed() < Duration::from_secs(3600), "held for an hour: {replies}");
                let _ = client.write_all(&[octet]).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_octet_now_and_then_does_not_hold_a_session() {
    let world = World::start().await;
    let message = b"EHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<alice@corp.example>\r\nDATA\r\n";
    for before in [b"".as_slice(), b"NO", b"EHLO c.example\r\n"] {
        let (held, replies) = drip(world.address, before, b'x').await;
        assert!(held <= Duration::from_secs(400), "{before:?}: {held:?}");
        assert!(replies.contains("421 4.4.1"), "{before:?}: {replies}");
    }
    // EHLO must be waited for.
    let mut client = TcpStream::connect(world.address).await.unwrap();
    client.write_all(&message[..16]).await.unwrap();
    let since = Instant::now();
    client.write_all(&message[16..]).await.unwrap();
    let mut octets = 0;
    while since.elapsed() < Duration::from_secs(3600) && client.write_all(b"x").await.is_ok() {
        octets += 1;
        tokio::time::sleep(Duration::from_secs(240)).await;
    }
    assert!(octets < 5, "a message of one octet in four minutes went on: {octets}");
    assert_eq!(world.queued().await, 0);
}
