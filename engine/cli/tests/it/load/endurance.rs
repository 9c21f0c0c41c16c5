//! What a host runs out of, and gets back: disk, descriptors, the name service.

use std::collections::BTreeMap;
use std::net::{TcpStream, UdpSocket};
use std::process::Command;
use std::thread;

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record, RecordType};

use super::account::balance;
use super::daemon::World;
use super::sender::{Client, Serial, Told};
use super::wait_until;
use crate::host::binary;

/// Sends until something is refused, or so many were accepted; notes what was told.
fn send(world: &World, told: &mut BTreeMap<Serial, Told>, count: u64) -> Option<u16> {
    let mut client = Client::connect(world.port).unwrap();
    for _ in 0..count {
        let serial = Serial(told.len() as u64 + 1);
        let answer = client.send(serial).unwrap();
        told.insert(serial, answer);
        match answer {
            Told::Refused(code) => return Some(code),
            other => assert_eq!(other, Told::Accepted, "{serial:?}"),
        }
    }
    None
}

fn settle(world: &World, told: &BTreeMap<Serial, Told>) {
    wait_until("the queue is empty", || {
        world.host.mailstack(&["queue", "flush"]).with(0);
        world.queued() == 0
    });
    let balance = balance(told, &world.sink.arrivals(), &world.lines());
    assert_eq!(balance.copies, 0, "{balance:?}");
}

#[test]
fn a_disk_that_fills_up_refuses_mail_and_takes_it_again_once_there_is_room() {
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED: a file system of its own needs root");
        return;
    }
    let world = World::new("limits.free_space = \"1MiB\"\n");
    let spool = world.host.path("var/spool/mailstack");
    std::fs::remove_dir_all(&spool).unwrap();
    std::fs::create_dir(&spool).unwrap();
    world.sink.set_down(true);
    let mut command = Command::new("unshare");
    let mount =
        "mount -t tmpfs -o size=20m,mode=700,uid=64999,gid=64999 tmpfs \"$1\" && shift && exec \"$@\"";
    command.args(["--mount", "sh", "-c", mount, "sh"]).arg(&spool).arg(binary());
    let daemon = world.start_by(command);
    let mut told = BTreeMap::new();
    assert_eq!(send(&world, &mut told, 10_000), Some(452), "it never fills up");
    let before = told.len();
    assert!(before > 100, "{before}");
    // What is refused is said to be for now, and nothing but space is the matter.
    assert_eq!(send(&world, &mut told, 1), Some(452));
    // Another takes some of the room: outcomes are still recorded, from the reserve.
    world.sink.set_down(false);
    settle(&world, &told);
    assert_eq!(send(&world, &mut told, 200), None, "it does not take mail again");
    settle(&world, &told);
    daemon.stop();
}

#[test]
fn out_of_descriptors_it_waits_and_goes_on() {
    let world = World::new("limits.connections = 500\nlimits.connections_per_client = 500\n");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 60; exec \"$0\" \"$@\""]).arg(binary());
    let daemon = world.start_by(command);
    let mut told = BTreeMap::new();
    assert_eq!(send(&world, &mut told, 20), None);
    let crowd: Vec<TcpStream> =
        (0..100).filter_map(|_| TcpStream::connect(("127.0.0.1", world.port)).ok()).collect();
    wait_until("it says that it has none left", || {
        world.lines().iter().any(|line| line.contains("cannot accept a connection"))
    });
    drop(crowd);
    wait_until("it answers again", || Client::connect(world.port).is_ok());
    assert_eq!(send(&world, &mut told, 100), None);
    settle(&world, &told);
    daemon.stop();
}

/// A name server that knows one name, at an address of the loopback network that nobody else uses.
fn name_server(address: &str) {
    let socket = UdpSocket::bind((address, 53)).unwrap();
    thread::spawn(move || {
        let mut octets = [0; 1500];
        while let Ok((read, client)) = socket.recv_from(&mut octets) {
            let Ok(mut message) = Message::from_vec(&octets[..read]) else { continue };
            message.metadata.message_type = MessageType::Response;
            message.metadata.response_code = ResponseCode::NoError;
            if let Some(query) = message.queries.first().cloned()
                && query.query_type() == RecordType::A
            {
                let name = query.name().clone();
                message.answers.push(Record::from_rdata(name, 1, RData::A(A::new(127, 0, 0, 1))));
            }
            let _ = socket.send_to(&message.to_vec().unwrap(), client);
        }
    });
}

#[test]
fn while_the_name_service_is_gone_mail_waits_and_then_goes_out() {
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED: a name server needs port 53");
        return;
    }
    let address = format!("127.53.{}.{}", std::process::id() / 250 % 250, std::process::id() % 250 + 1);
    let world = World::new("");
    let declared = std::fs::read_to_string(world.host.path("etc/mailstack/host.toml")).unwrap();
    let named = declared.replace("[127.0.0.1]", "mail.corp.example");
    world.host.put("etc/mailstack/host.toml", &named);
    world.host.put("etc/resolv.conf", &format!("nameserver {address}\noptions timeout:1 attempts:1\n"));
    world.host.apply().with(0);
    world.host.mailstack(&["stop"]).with(0);
    let daemon = world.start();
    let mut told = BTreeMap::new();
    assert_eq!(send(&world, &mut told, 30), None);
    wait_until("the name service is found to be gone", || {
        world.lines().iter().any(|line| line.contains("dsn=4.4.3"))
    });
    assert_eq!(world.sink.count(), 0);
    name_server(&address);
    settle(&world, &told);
    daemon.stop();
}
