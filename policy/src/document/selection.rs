//! Selectors as documents have them, which is the same in both forms.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use crate::{
    label::{LabelKey, LabelValue},
    selector::{Requirement, Selector},
    tree::{Defect, Node},
};

/// The selector of a Kubernetes manifest.
pub(super) fn label_selector(selector: &LabelSelector, node: &Node) -> Result<Selector, Defect> {
    let equal = selector.match_labels.iter().flatten().map(|(key, value)| {
        let place = node.nearest_to_field("matchLabels").nearest_to_field(key);
        Ok(Requirement::In(label_key(key, place)?, [label_value(value, place)?].into()))
    });
    let others = requirements(
        selector.match_expressions.as_deref().unwrap_or_default(),
        node.nearest_to_field("matchExpressions"),
    )?;
    Ok(Selector::new(equal.collect::<Result<Vec<_>, _>>()?.into_iter().chain(others)))
}

/// Requirements as both forms have them.
pub(super) fn requirements(written: &[LabelSelectorRequirement], node: &Node) -> Result<Vec<Requirement>, Defect> {
    let requirement = |(index, written): (usize, &LabelSelectorRequirement)| {
        let node = node.nearest_to_item(index);
        if written.key.is_empty() {
            return Err(node.invalid("`key` is missing"));
        }
        let key = label_key(&written.key, node.nearest_to_field("key"))?;
        let place = node.nearest_to_field("values");
        let given = written.values.as_deref().unwrap_or_default();
        let values = || {
            if given.is_empty() {
                return Err(place.invalid(format!("`{}` needs `values`", written.operator)));
            }
            let value = |(index, value): (usize, &String)| label_value(value, place.nearest_to_item(index));
            given.iter().enumerate().map(value).collect::<Result<BTreeSet<_>, _>>()
        };
        let without_values = |requirement| match given {
            [] => Ok(requirement),
            _ => Err(place.invalid(format!("`{}` takes no `values`", written.operator))),
        };
        match written.operator.as_str() {
            "In" => Ok(Requirement::In(key, values()?)),
            "NotIn" => Ok(Requirement::NotIn(key, values()?)),
            "Exists" => without_values(Requirement::Exists(key)),
            "DoesNotExist" => without_values(Requirement::DoesNotExist(key)),
            _ => Err(node.nearest_to_field("operator").invalid("`operator` must be In, NotIn, Exists or DoesNotExist")),
        }
    };
    written.iter().enumerate().map(requirement).collect()
}

/// Labels that are there with these values, and no others.
pub(super) fn exact(labels: &BTreeMap<String, String>, node: &Node) -> Result<BTreeMap<LabelKey, LabelValue>, Defect> {
    let label = |(key, value): (&String, &String)| {
        let place = node.nearest_to_field(key);
        Ok((label_key(key, place)?, label_value(value, place)?))
    };
    labels.iter().map(label).collect()
}

pub(super) fn label_key(text: &str, node: &Node) -> Result<LabelKey, Defect> {
    text.parse().map_err(|error| node.invalid(error))
}

pub(super) fn label_value(text: &str, node: &Node) -> Result<LabelValue, Defect> {
    text.parse().map_err(|error| node.invalid(error))
}
