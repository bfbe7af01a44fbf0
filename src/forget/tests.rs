use super::*;
use crate::apply::MemoryKernel;
use crate::dataplane::{Key, SetName};
use crate::fixtures::{World, frontend, service, slice};

const WEB: &str = "10.96.0.1 80/tcp";

fn world() -> World {
    World::with([service("shop/web").affinity(60).into(), slice("shop/web-1").ready(&["10.1.0.1", "10.1.0.2"]).into()])
}

fn client(n: u8, endpoint: &str) -> Element {
    let key = Key::Client(frontend(WEB), [192, 0, 2, n].into());
    let value = Some(Endpoint { addr: endpoint.parse().unwrap(), port: 8080 });
    Element { value, ..Element::member(SetName::Clients { node_port: false }, key) }
}

/// Packets of these clients went to these endpoints.
fn remember(kernel: &mut MemoryKernel, clients: &[(u8, &str)]) {
    let add = clients.iter().map(|(n, endpoint)| Operation::add_element(client(*n, endpoint)));
    assert_eq!(kernel.apply(&add.collect::<Vec<_>>()), Ok(()));
}

async fn remembered(backend: &mut impl Backend) -> Vec<String> {
    let clients = backend.clients(Family::Ip, false).await.unwrap();
    clients.iter().map(ToString::to_string).collect()
}

/// Removes the first endpoint; returns what that means for clients.
fn depart(world: &mut World) -> Departure {
    world.apply(slice("shop/web-1").ready(&["10.1.0.2"]));
    let left = world.plan().left;
    world.sync();
    Departure::of(&left, &world.desired).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_clients_of_a_removed_endpoint_are_forgotten_and_nobody_else() {
    let mut world = world();
    let clients: Vec<_> = (0..250).map(|n| (n, if n % 2 == 0 { "10.1.0.1" } else { "10.1.0.2" })).collect();
    remember(&mut world.kernel, &clients);
    let departure = depart(&mut world);
    let mut kernel = world.kernel.clone();
    assert_eq!(sweep(&mut kernel, &departure, &departure.left).await.unwrap(), 125);
    let remembered = remembered(&mut kernel).await;
    assert_eq!(remembered.len(), 125);
    assert!(remembered.iter().all(|client| client.ends_with(": 10.1.0.2 . 8080")));
}

/// A kernel in which, between reading and deleting, a client expires and a connection in flight is remembered.
struct Busy {
    kernel: MemoryKernel,
    expires: Option<Element>,
    in_flight: Option<Element>,
    reads: usize,
}

impl Backend for Busy {
    fn read(
        &mut self,
        families: &[Family],
    ) -> impl Future<Output = Result<crate::dataplane::Tables, Error>> + Send + 'static {
        self.kernel.read(families)
    }

    async fn clients(&mut self, family: Family, node_port: bool) -> Result<Vec<Element>, Error> {
        self.reads += 1;
        let clients = self.kernel.clients(family, node_port).await;
        if let Some(element) = self.expires.take() {
            self.kernel.apply(&[Operation::delete_element(element)]).unwrap();
        }
        if let Some(element) = self.in_flight.take() {
            self.kernel.apply(&[Operation::add_element(element)]).unwrap();
        }
        clients
    }

    async fn commit(&mut self, operations: &[Operation]) -> Result<crate::apply::Receipt, Error> {
        self.kernel.commit(operations).await
    }
}

#[tokio::test(start_paused = true)]
async fn clients_that_expire_or_appear_meanwhile_are_no_hindrance() {
    let mut world = world();
    remember(&mut world.kernel, &[(1, "10.1.0.1"), (2, "10.1.0.1"), (3, "10.1.0.2")]);
    let departure = depart(&mut world);
    let expires = Some(client(1, "10.1.0.1"));
    let in_flight = Some(client(4, "10.1.0.1"));
    let mut busy = Busy { kernel: world.kernel.clone(), expires, in_flight, reads: 0 };
    twice(&mut busy, &departure).await.unwrap();
    assert_eq!(remembered(&mut busy).await, ["192.0.2.3 . 10.96.0.1 . tcp . 80 : 10.1.0.2 . 8080"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_again_when_nobody_was_forgotten() {
    let mut world = world();
    let departure = depart(&mut world);
    let mut busy = Busy { kernel: world.kernel.clone(), expires: None, in_flight: None, reads: 0 };
    twice(&mut busy, &departure).await.unwrap();
    assert_eq!(busy.reads, 1);
}

#[tokio::test(start_paused = true)]
async fn departures_that_wait_are_handled_together_and_the_task_ends_with_its_loop() {
    let mut world = world();
    remember(&mut world.kernel, &[(1, "10.1.0.1"), (2, "10.1.0.2")]);
    let first = depart(&mut world);
    world.apply(slice("shop/web-1").ready(&["10.1.0.3"]));
    let second = Departure::of(&world.plan().left, &world.desired).unwrap();
    let both = first.clone().and_then(second.clone());
    assert_eq!(both.left.len(), 2);
    let (send, receive) = mpsc::unbounded_channel();
    send.send(first).unwrap();
    send.send(second).unwrap();
    drop(send);
    run(world.kernel.clone(), receive).await;
}

#[test]
fn after_a_start_every_map_is_looked_at() {
    let departure = Departure::after_start(&BTreeSet::new(), &Desired::default(), &Family::ALL);
    assert_eq!(departure.maps.len(), 4);
    assert!(Departure::of(&BTreeSet::new(), &Desired::default()).is_none());
}
