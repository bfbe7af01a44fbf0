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

/// A follower that has seen the start.
fn follower(world: &mut World) -> (AffinityFollower, mpsc::UnboundedReceiver<AffinityPurge>) {
    let (mut follower, mut purges) = AffinityFollower::channel(&Family::ALL);
    world.follow(&mut follower, []);
    while purges.try_recv().is_ok() {}
    (follower, purges)
}

/// Leaves only the last endpoint; returns what that means for clients.
fn purge_after(world: &mut World) -> AffinityPurge {
    let (mut follower, mut purges) = follower(world);
    world.follow(&mut follower, [slice("shop/web-1").ready(&["10.1.0.2"]).into()]);
    purges.try_recv().unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_clients_of_a_removed_endpoint_are_deleted_and_no_others() {
    let mut world = world();
    let clients: Vec<_> = (0..250).map(|n| (n, if n % 2 == 0 { "10.1.0.1" } else { "10.1.0.2" })).collect();
    remember(&mut world.kernel, &clients);
    let purge = purge_after(&mut world);
    let mut kernel = world.kernel.clone();
    assert_eq!(sweep(&mut kernel, &purge, &purge.vacated).await.unwrap(), 125);
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
    let purge = purge_after(&mut world);
    let expires = Some(client(1, "10.1.0.1"));
    let in_flight = Some(client(4, "10.1.0.1"));
    let mut busy = Busy { kernel: world.kernel.clone(), expires, in_flight, reads: 0 };
    twice(&mut busy, &purge).await.unwrap();
    assert_eq!(remembered(&mut busy).await, ["192.0.2.3 . 10.96.0.1 . tcp . 80 : 10.1.0.2 . 8080"]);
}

#[tokio::test(start_paused = true)]
async fn the_map_is_not_dumped_again_when_no_client_was_deleted() {
    let mut world = world();
    let purge = purge_after(&mut world);
    let mut busy = Busy { kernel: world.kernel.clone(), expires: None, in_flight: None, reads: 0 };
    twice(&mut busy, &purge).await.unwrap();
    assert_eq!(busy.reads, 1);
}

#[tokio::test(start_paused = true)]
async fn purges_that_wait_are_handled_together_and_the_task_ends_with_its_loop() {
    let mut world = world();
    remember(&mut world.kernel, &[(1, "10.1.0.1"), (2, "10.1.0.2")]);
    let (mut follower, mut purges) = follower(&mut world);
    world.follow(&mut follower, [slice("shop/web-1").ready(&["10.1.0.2"]).into()]);
    world.follow(&mut follower, [slice("shop/web-1").ready(&["10.1.0.3"]).into()]);
    let (first, second) = (purges.try_recv().unwrap(), purges.try_recv().unwrap());
    let both = first.clone().and_then(second.clone());
    assert_eq!(both.vacated.len(), 2);
    let (send, receive) = mpsc::unbounded_channel();
    send.send(first).unwrap();
    send.send(second).unwrap();
    drop(send);
    run(world.kernel.clone(), receive).await;
}

#[test]
fn after_a_start_every_map_is_dumped_if_there_is_affinity() {
    for (mut world, maps) in [(world(), Some(4)), (World::new(), None)] {
        let (mut follower, mut purges) = AffinityFollower::channel(&Family::ALL);
        world.follow(&mut follower, []);
        assert_eq!(purges.try_recv().ok().map(|purge| purge.maps.len()), maps);
        world.follow(&mut follower, [service("shop/other").ips(&["10.96.0.9"]).into()]);
        assert!(purges.try_recv().is_err(), "an unrelated change");
    }
}

#[test]
fn endpoints_that_a_failed_plan_vacated_are_purged_after_the_next_one() {
    let mut world = world();
    let (mut follower, mut purges) = follower(&mut world);
    let vacated = BTreeSet::from([(frontend(WEB), Endpoint { addr: [10, 1, 0, 1].into(), port: 8080 })]);
    let plan = crate::diff::Plan { vacated: vacated.clone(), ..Default::default() };
    let failed = Failed { plan, up_to_date: Vec::new(), failures: 1, is_search: false };
    let failure = Failure { is_refusal: false, message: String::new() };
    follower.failed(&failed, &failure, Duration::ZERO);
    world.follow(&mut follower, []);
    assert_eq!(purges.try_recv().unwrap().vacated, vacated);
}
