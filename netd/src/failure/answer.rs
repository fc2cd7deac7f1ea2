//! How a failure is answered over HTTP.

use api::Problem;
use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};

use super::Failure;

impl Failure {
    fn status(&self) -> StatusCode {
        match self {
            Self::Unknown { .. } => StatusCode::NOT_FOUND,
            Self::Ambiguous { .. }
            | Self::NameTaken { .. }
            | Self::NetworkInUse { .. }
            | Self::ImageInUse { .. }
            | Self::ImageWithNames { .. }
            | Self::AddressesHeld { .. }
            | Self::Range { .. }
            | Self::NoRange { .. }
            | Self::Address { .. }
            | Self::AddressTaken { .. }
            | Self::MacTaken { .. }
            | Self::AlreadyConnected { .. }
            | Self::InterfaceTaken { .. }
            | Self::NotConnected { .. }
            | Self::StillLeaving { .. }
            | Self::PortTaken { .. }
            | Self::PortInUse { .. }
            | Self::AddressNotHere { .. }
            | Self::NoPortFree { .. }
            | Self::StillRunning { .. }
            | Self::Restarting { .. }
            | Self::NotRunning { .. }
            | Self::NotStarted { .. }
            | Self::HostEnds { .. }
            | Self::AlreadyRunning { .. }
            | Self::EndsOnce { .. }
            | Self::StoppedMeanwhile { .. }
            | Self::ParentTaken { .. }
            | Self::ParentHeld { .. }
            | Self::ImageGone { .. }
            | Self::JoinsASharer { .. }
            | Self::JoinedNotRunning { .. }
            | Self::JoinedGone { .. }
            | Self::Policies { .. }
            | Self::PolicyNames { .. }
            | Self::NetworkBeyondReach { .. }
            | Self::BeingRemoved { .. } => StatusCode::CONFLICT,
            Self::UnknownRevision { .. } | Self::NoRoute { .. } => StatusCode::NOT_FOUND,
            Self::NoMethod { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Malformed { .. } | Self::NetworkRequest(_) | Self::NetworkUpdate(_) | Self::NoUpgrade => {
                StatusCode::BAD_REQUEST
            }
            Self::ContainerRequest(_)
            | Self::AddressUnusable { .. }
            | Self::PublishLeadsNowhere { .. }
            | Self::PublishInternal { .. }
            | Self::AddressRefused { .. }
            | Self::NoParent { .. }
            | Self::LoopbackParent { .. }
            | Self::VlanNumber { .. }
            | Self::NoVlanLink { .. }
            | Self::VlanElsewhere { .. }
            | Self::NoVlans { .. }
            | Self::ParentMtu { .. }
            | Self::NoFacility { .. }
            | Self::MacOfParent { .. }
            | Self::PublishOnLan { .. }
            | Self::NoDns { .. }
            | Self::NoCommand { .. }
            | Self::TooLittleMemory { .. }
            | Self::HostPath { .. }
            | Self::PolicyDocuments { .. }
            | Self::Image(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::HalfMade { source, .. } => source.status(),
            Self::Runtime { source, .. } if source.exit_code() != 125 => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Kernel { source, .. } if source.is_full_bridge() => StatusCode::CONFLICT,
            Self::Kernel { source, .. } if source.is_without_bridge_filter() => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Runtime { .. }
            | Self::Kernel { .. }
            | Self::Dns { .. }
            | Self::Commit { .. }
            | Self::Record { .. }
            | Self::File { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The failure as it goes over the wire.
    pub(crate) fn problem(&self) -> Problem {
        let mut problem = Problem::from_error(self);
        problem.hint = self.hint();
        if let Self::Runtime { source, .. } = self {
            problem.exit_code = Some(source.exit_code());
        }
        problem
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        tracing::debug!(failure = %self, "request not carried out");
        (self.status(), Json(self.problem())).into_response()
    }
}
