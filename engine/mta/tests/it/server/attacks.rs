//! What must be refused over TCP: smuggled ends of data.

use super::*;

#[tokio::test]
async fn no_smuggled_end_of_data_ends_it() {
    let world = World::start().await;
    let open =
        "MAIL FROM:<a@far.example>\r\nRCPT TO:<alice@corp.example>\r\nDATA\r\nSubject: outer\r\n\r\nouter";
    let inner = "MAIL FROM:<b@far.example>\r\nRCPT TO:<root@corp.example>\r\nDATA\r\nSubject: inner\r\n\r\ninner\r\n.\r\n";
    for form in [
        "\n.\n",
        "\n.\r\n",
        "\r.\r\n",
        "\r\n.\n",
        "\r\n.\r\r\n",
        "\r\r\n.\r\r\n",
        "\r.\r",
        "\r.\n",
        "\n.\r",
        "\r\n.\0\r\n",
        "\r\n\0.\r\n",
    ] {
        let replies = world.pipelined(format!("{open}{form}{inner}").as_bytes()).await;
        let accepted = codes(&replies).iter().filter(|code| *code == "250 2.0.0").count();
        assert_eq!(accepted, 0, "{form:?}: {replies}");
    }
    assert_eq!(world.queued().await, 0);
}

#[tokio::test]
async fn a_session_that_breaks_off_leaves_nothing() {
    let mut world = World::start().await;
    let whole = "MAIL FROM:<>\r\nRCPT TO:<alice@corp.example>\r\nDATA\r\nSubject: x\r\n\r\nbody\r\n.\r";
    world.pipelined(whole.as_bytes()).await;
    world.event(|event| matches!(event, Event::SessionClosed { .. }).then_some(())).await;
    assert_eq!(world.queued().await, 0);
}
