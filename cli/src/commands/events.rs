//! `fabric events`.

use api::{Client, Event, EventKind, EventsQuery};

use crate::{arguments::EventsArguments, failure::Failure, filter::passes, output::Output};

pub(super) async fn events(client: &Client, output: Output, arguments: EventsArguments) -> Result<(), Failure> {
    let query = EventsQuery { since: arguments.since.map(|since| since.0), follow: arguments.follow };
    let mut events = client.events(query).await?;
    while let Some(event) = events.next().await? {
        if passes(&event, &arguments.filters) {
            output.stream(&event, model::Stream::Stdout, &render(&event))?;
        }
    }
    Ok(())
}

/// One event on one line: when, what, to whom, and what else is known.
fn render(event: &Event) -> String {
    let id = if event.kind == EventKind::Image { &event.id } else { event.id.get(..12).unwrap_or(&event.id) };
    let mut text = format!("{:.3} {} {} {} ({id}", event.time, event.kind, event.action, event.name);
    if let Some(image) = &event.image {
        text.push_str(&format!(", image={image}"));
    }
    for network in &event.networks {
        text.push_str(&format!(", network={network}"));
    }
    if let Some(code) = event.exit_code {
        text.push_str(&format!(", exit_code={code}"));
    }
    text.push_str(")\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        let event = |rest: serde_json::Value| -> Event {
            let mut value = serde_json::json!({
                "sequence": 1, "time": "2026-11-20T08:00:00.123456Z", "kind": "network", "action": "create",
                "id": "d4d4d4d4d4d4d4d4", "name": "web",
            });
            value.as_object_mut().expect("an object").extend(rest.as_object().expect("an object").clone());
            serde_json::from_value(value).expect("the literal is an event")
        };
        let network = event(serde_json::json!({}));
        assert_eq!(render(&network), "2026-11-20T08:00:00.123Z network create web (d4d4d4d4d4d4)\n");
        let container = event(serde_json::json!({
            "kind": "container", "action": "exit", "name": "api", "image": "busybox", "networks": ["web", "db"],
            "exit_code": 137,
        }));
        assert_eq!(
            render(&container),
            "2026-11-20T08:00:00.123Z container exit api (d4d4d4d4d4d4, image=busybox, network=web, network=db, \
             exit_code=137)\n"
        );
    }
}
