//! Documents: what is written in files, and what is wrong with it.

mod kubernetes;
mod native;
mod selection;

use std::sync::Arc;

use model::NetworkName;

use crate::{
    place::{Place, Position},
    rule::{Layer, Policy, Stance},
    tree::{Defect, Node, Problem, Syntax, Value},
};

/// What one document says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// Rules for some endpoints.
    Policy(Policy),
    /// What becomes of the rest.
    Stance(Stance),
}

/// What is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {}{problem}", .document.map(|number| format!("document {number}: ")).unwrap_or_default())]
pub struct DocumentError {
    /// Where.
    pub place: Place,
    /// In the how manieth document of the file, from 1; none where it has only one.
    pub document: Option<usize>,
    /// What.
    pub problem: Problem,
}

impl Document {
    /// Its name as a person knows it; policies of Kubernetes have their network's before it.
    pub fn title(&self) -> String {
        match self {
            Self::Policy(policy) => policy.title(),
            Self::Stance(stance) => stance.name.to_string(),
        }
    }

    /// Of what kind it is, as it was written.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Policy(Policy { layer: Layer::Additive(_), .. }) => "NetworkPolicy",
            Self::Policy(_) => "Policy",
            Self::Stance(_) => "Stance",
        }
    }

    /// Where it begins.
    pub fn place(&self) -> &Place {
        match self {
            Self::Policy(policy) => &policy.place,
            Self::Stance(stance) => &stance.place,
        }
    }

    /// Whether both say the same, wherever each stands.
    pub fn says_as_much_as(&self, other: &Self) -> bool {
        self.somewhere() == other.somewhere()
    }

    /// The same with all that it says in one place.
    fn somewhere(&self) -> Self {
        let nowhere = || Place::new(&Arc::default(), Position::START);
        let mut moved = self.clone();
        match &mut moved {
            Self::Policy(policy) => {
                policy.place = nowhere();
                policy.rules.iter_mut().for_each(|rule| rule.place = nowhere());
            }
            Self::Stance(stance) => stance.place = nowhere(),
        }
        moved
    }
}

impl DocumentError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<&str> {
        match &self.problem {
            Problem::UnknownField { hint, .. } => Some(hint),
            Problem::Invalid(_) => None,
        }
    }
}

/// A kind of document, as its `apiVersion` and `kind` say.
const KINDS: [(&str, &str); 3] =
    [(native::API_VERSION, "Policy"), (native::API_VERSION, "Stance"), (kubernetes::API_VERSION, "NetworkPolicy")];

/// The documents of a file. `network` is what policies of Kubernetes are for that name none in `metadata.namespace`.
///
/// Every document is looked at, so that a person sees what is wrong with each.
pub fn parse(
    file: &str,
    syntax: Syntax,
    text: &str,
    network: Option<&NetworkName>,
) -> Result<Vec<Document>, Vec<DocumentError>> {
    let reader = Reader { file: file.into(), network };
    let told = |document, defect: Defect| DocumentError {
        place: reader.place(defect.position()),
        document,
        problem: defect.problem,
    };
    let nodes = Node::documents(syntax, text).map_err(|defect| vec![told(None, defect)])?;
    let (mut documents, mut errors) = (Vec::new(), Vec::new());
    for (index, node) in nodes.iter().enumerate() {
        let number = (nodes.len() > 1).then_some(index + 1);
        reader.document(node, Within::File, &mut |result| match result {
            Ok(document) => documents.push(document),
            Err(defect) => errors.push(told(number, defect)),
        });
    }
    if errors.is_empty() { Ok(documents) } else { Err(errors) }
}

/// What all documents of a file are read with.
struct Reader<'r> {
    file: Arc<str>,
    network: Option<&'r NetworkName>,
}

/// What a document stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    File,
    /// Whose elements say what they are.
    List,
    /// Whose elements need not.
    NetworkPolicyList,
}

impl Reader<'_> {
    fn place(&self, position: Position) -> Place {
        Place::new(&self.file, position)
    }

    /// Reads a document, or each of a list.
    fn document(&self, node: &Node, within: Within, found: &mut dyn FnMut(Result<Document, Defect>)) {
        if !matches!(node.value, Value::Map(_)) {
            return found(Err(node.invalid("expected a document with `apiVersion` and `kind`")));
        }
        let text = |name| node.field(name).and_then(Node::text);
        let result = match (text("apiVersion"), text("kind"), within) {
            (Some("v1"), Some("List"), Within::File) => return self.list(node, Within::List, found),
            (Some(kubernetes::API_VERSION), Some("NetworkPolicyList"), Within::File) => {
                return self.list(node, Within::NetworkPolicyList, found);
            }
            (Some(kubernetes::API_VERSION), Some("NetworkPolicy"), _) | (None, None, Within::NetworkPolicyList) => {
                self.kubernetes(node)
            }
            (Some(native::API_VERSION), Some("Policy"), _) => self.native(node),
            (Some(native::API_VERSION), Some("Stance"), _) => self.stance(node),
            (api_version, kind, _) => Err(unknown_kind(node, api_version, kind)),
        };
        found(result);
    }

    fn list(&self, node: &Node, within: Within, found: &mut dyn FnMut(Result<Document, Defect>)) {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        #[expect(dead_code, reason = "says which fields a list may have; its elements are read one by one")]
        struct List {
            api_version: Option<String>,
            kind: Option<String>,
            metadata: Option<serde::de::IgnoredAny>,
            items: serde::de::IgnoredAny,
        }
        if let Err(defect) = crate::tree::read::<List>(node) {
            return found(Err(defect));
        }
        let items = node.nearest_to_field("items");
        if !matches!(items.value, Value::List(_)) {
            return found(Err(items.invalid("expected a list of documents")));
        }
        items.items().iter().for_each(|item| self.document(item, within, found));
    }
}

fn unknown_kind(node: &Node, api_version: Option<&str>, kind: Option<&str>) -> Defect {
    let known = KINDS.map(|(api_version, kind)| format!("`{kind}` of `{api_version}`")).join(", ");
    let shown =
        |text: Option<&str>| text.map_or("nothing".to_owned(), |text| format!("`{}`", crate::label::shown(text)));
    let what = match (api_version, kind) {
        (_, None) => "there is no `kind`".to_owned(),
        (None, Some(_)) => "there is no `apiVersion`".to_owned(),
        _ => format!("`kind` is {} and `apiVersion` {}", shown(kind), shown(api_version)),
    };
    node.nearest_to_field("kind").invalid(format!("{what}; there is: {known}"))
}

/// A moment, as every file writes it.
pub(crate) fn moment(text: &str, node: &Node) -> Result<jiff::Timestamp, Defect> {
    text.parse().map_err(|_| node.invalid("expected a moment as RFC 3339 has it, such as `2030-01-31T12:00:00Z`"))
}
