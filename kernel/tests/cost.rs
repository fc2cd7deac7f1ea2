//! What one attachment costs, with few neighbours and with many.

mod lab;

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use lab::{Lab, attachment, gateway, state};
use model::{Attachment, Scope, State};

/// Many endpoints on one network.
fn crowd(count: u16) -> Vec<Attachment> {
    (0..count)
        .map(|number| {
            let mut one = attachment(12, &[]);
            let [high, low] = number.to_be_bytes();
            one.endpoint.id = model::EndpointId::from_bytes([0xe1, 0, 0, 0, high, low, 0, 0]);
            one.endpoint.mac = Some(model::MacAddress::local([2, 0, 0, 1, high, low]));
            one.endpoint.ipv4 = Some(Ipv4Addr::new(10, 89, 100 + high, low));
            one.namespace = format!("n{number}").parse().expect("letters and digits");
            one.publishes = vec![format!("{}:80", 10_000 + number).parse().expect("literal")];
            one
        })
        .collect()
}

/// The state of attachments to one network of 65,534 addresses.
fn wide(attachments: &[Attachment]) -> State {
    let mut state = state(attachments);
    let wide = |address| IpNet::new(address, 16).expect("16 is a prefix length");
    for bridge in state.bridges.values_mut() {
        bridge.mac = model::MacAddress::local([2, 0, 0, 0, 1, 1]);
        bridge.addresses = [wide(gateway(1).into())].into();
    }
    for inside in state.veths.values_mut().filter_map(|veth| veth.inside.as_mut()) {
        inside.addresses = inside.addresses.iter().map(|net| wide(net.addr())).collect();
        inside.gateway = Some(gateway(1));
    }
    state
}

/// The least time of many to attach and to detach one endpoint whose namespace comes from the pool: what it costs,
/// whatever else the machine did in the other turns.
fn measure(lab: &Lab, neighbours: &[Attachment]) -> (Duration, Duration) {
    let (mut attach, mut detach) = (Vec::new(), Vec::new());
    for _ in 0..21 {
        let one = attachment(12, &["8080:80"]);
        lab.wait(lab.kernel.make_namespace(one.namespace.clone())).expect("a namespace can be made");
        let network: Vec<Attachment> = neighbours.iter().take(1).chain([&one]).cloned().collect();
        let scope = Scope::from(one);
        let (with, without) = (wide(&network), wide(&network[..1]));
        let start = Instant::now();
        let changes = lab.reconcile(scope.clone(), &with);
        attach.push(start.elapsed());
        assert!(changes.len() >= 4, "{changes:?}");
        let start = Instant::now();
        lab.reconcile(scope, &without);
        detach.push(start.elapsed());
    }
    let least = |times: Vec<Duration>| times.into_iter().min().expect("many turns");
    (least(attach), least(detach))
}

#[test]
fn attaching_costs_the_same_with_many_neighbours() {
    lab::run(|lab| {
        let crowd = crowd(500);
        lab.settle(&wide(&crowd[..10]));
        let few = measure(lab, &crowd[..10]);
        let start = Instant::now();
        lab.settle(&wide(&crowd));
        println!("500 endpoints settled twice in {:?}", start.elapsed());
        let start = Instant::now();
        lab.reconcile(Scope::Everything, &wide(&crowd));
        println!("500 endpoints looked at in {:?}", start.elapsed());
        let many = measure(lab, &crowd);
        println!("attach, detach: {few:?} with 10 neighbours, {many:?} with 500");
        // A cost that grows with the neighbours would be fifty times as high.
        assert!(many.0 < few.0 * 4, "attach {few:?} -> {many:?}");
    });
}
