//! The names of what is simulated: the two API surfaces, and the operations a fault can be queued for.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

/// Which of the two Genesys APIs is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Surface {
    /// The published Platform API v2.
    Platform,
    /// The API the integration guides describe.
    Guide,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A token, by client credentials.
    Token,
    /// One run of a data action, on any of its paths.
    ExecuteDataAction,
    /// One transfer of a conversation, on any of its paths.
    Transfer,
    /// A look at a conversation: one on `platform`, a page of all on `guide`.
    GetConversation,
    /// A look at a queue.
    GetQueue,
    /// A look at a user.
    GetUser,
    /// A look at a user's presence.
    GetPresence,
    /// A new retention policy.
    CreatePolicy,
    /// A page of the retention policies.
    ListPolicies,
    /// A look at one retention policy, on `platform`.
    ReadPolicy,
    /// A change of a retention policy, whole or only on or off, on `platform`.
    UpdatePolicy,
    /// The end of a retention policy, on `platform`.
    DeletePolicy,
    /// A look at the job that makes a retention policy, on `guide`.
    ReadJob,
    /// A look at what the organisation keeps at most, on `platform`.
    ReadRetentionSettings,
}

impl Operation {
    pub(crate) const ALL: [Self; 14] = [
        Self::Token,
        Self::ExecuteDataAction,
        Self::Transfer,
        Self::GetConversation,
        Self::GetQueue,
        Self::GetUser,
        Self::GetPresence,
        Self::CreatePolicy,
        Self::ListPolicies,
        Self::ReadPolicy,
        Self::UpdatePolicy,
        Self::DeletePolicy,
        Self::ReadJob,
        Self::ReadRetentionSettings,
    ];
}

impl Display for Surface {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Platform => "platform",
            Self::Guide => "guide",
        })
    }
}

impl Display for Operation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token => "token",
            Self::ExecuteDataAction => "execute-data-action",
            Self::Transfer => "transfer",
            Self::GetConversation => "get-conversation",
            Self::GetQueue => "get-queue",
            Self::GetUser => "get-user",
            Self::GetPresence => "get-presence",
            Self::CreatePolicy => "create-policy",
            Self::ListPolicies => "list-policies",
            Self::ReadPolicy => "read-policy",
            Self::UpdatePolicy => "update-policy",
            Self::DeletePolicy => "delete-policy",
            Self::ReadJob => "read-job",
            Self::ReadRetentionSettings => "read-retention-settings",
        })
    }
}

impl FromStr for Surface {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        [Self::Platform, Self::Guide].into_iter().find(|it| it.to_string() == name).ok_or(UnknownName)
    }
}

impl FromStr for Operation {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|it| it.to_string() == name).ok_or(UnknownName)
    }
}

/// Not the name of a surface, or not that of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownName;

impl Display for UnknownName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("unknown name")
    }
}

impl std::error::Error for UnknownName {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back_as_it_is_written() {
        for surface in [Surface::Platform, Surface::Guide] {
            assert_eq!(surface.to_string().parse(), Ok(surface));
        }
        for operation in Operation::ALL {
            assert_eq!(operation.to_string().parse(), Ok(operation));
        }
        assert_eq!("Platform".parse::<Surface>(), Err(UnknownName));
    }
}
