//! Requests, parsed at the door: from here on, everything is what it says it is.

use std::time::Duration;

use http::HeaderMap;
use serde_json::{Value, json};
use shared::canonical::{canonical, digest};
use shared::genesys::conversations::{Address, Consult, Destination, Kind, SpeakTo, Transfer};
use shared::genesys::{ConversationId, Id, Surface};
use shared::idempotency::Key;
use shared::problem::{self, Problem};
use shared::request::{Members, invalid, key_header, preferred_wait};

/// How long a request without a key is the same request as one before it.
const WINDOW: Duration = Duration::from_mins(5);

/// One transfer that is asked for.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) transfer: Transfer,
    pub(crate) key: Key,
    /// How long the answer is replayed, if the request has a say in that.
    pub(crate) window: Option<Duration>,
    /// Two requests with the same fingerprint ask for the same.
    pub(crate) fingerprint: String,
    /// How long a duplicate waits for the run it met.
    pub(crate) wait: Duration,
}

/// A request that is refused, and the conversation it was about, as far as it says.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) problem: Problem,
    pub(crate) conversation: Option<ConversationId>,
    /// Whether the problem's detail repeats what the caller wrote.
    pub(crate) quotes_caller: bool,
}

impl Request {
    /// Over HTTP: the body is the request, the key a header.
    pub(crate) fn from_http(
        headers: &HeaderMap,
        body: &[u8],
        surface: Surface,
    ) -> Result<Self, Box<Refused>> {
        let read = |members: &Members<'_>| {
            // The header counts; a member that is no key is wrong all the same.
            let member = members.key()?;
            let key = key_header(headers)?.or(member);
            Self::read(members, key, preferred_wait(headers), surface)
        };
        at_the_door(body, "The body", read)
    }

    /// As a direct invocation or an SQS message: the key is a member too.
    pub(crate) fn from_direct(payload: &[u8], surface: Surface) -> Result<Self, Box<Refused>> {
        let read = |members: &Members<'_>| Self::read(members, members.key()?, members.wait()?, surface);
        at_the_door(payload, "The payload", read)
    }

    fn read(
        members: &Members<'_>,
        key: Option<Key>,
        wait: Duration,
        surface: Surface,
    ) -> Result<Self, Problem> {
        let transfer = Transfer {
            conversation: required(id(members, "conversationId")?, "conversationId")?,
            kind: kind(members)?,
            destination: destination(members)?,
            preserve_caller_id: members.flag("preserveCallerId")?,
            participant: id(members, "participantId")?,
            allow_unstaffed: members.flag("allowUnstaffed")?.unwrap_or(false),
        };
        refuse_unsupported(&transfer, surface)?;
        let content = content(&transfer);
        let window = key.is_none().then_some(WINDOW);
        let key = key.unwrap_or_else(|| Key::derived(&content));
        Ok(Self { transfer, key, window, fingerprint: digest(content.as_bytes()), wait })
    }
}

/// Reads a request, and when it is refused, says whose it was.
fn at_the_door(
    bytes: &[u8],
    what: &str,
    read: impl FnOnce(&Members<'_>) -> Result<Request, Problem>,
) -> Result<Request, Box<Refused>> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Err(Box::new(Refused::unread(invalid(format!("{what} is not UTF-8 text.")))));
    };
    let refused = |problem, quotes_caller| {
        Box::new(Refused { problem, conversation: readable_conversation(text), quotes_caller })
    };
    let members = Members::parse(text, what).map_err(|problem| refused(problem, true))?;
    read(&members).map_err(|problem| refused(problem, false))
}

impl Refused {
    /// A request that was not read.
    pub(crate) fn unread(problem: Problem) -> Self {
        Self { problem, conversation: None, quotes_caller: false }
    }
}

fn readable_conversation(text: &str) -> Option<ConversationId> {
    let request: Value = serde_json::from_str(text).ok()?;
    ConversationId::parse(request["conversationId"].as_str()?).ok()
}

fn kind(members: &Members<'_>) -> Result<Kind, Problem> {
    let particulars = members.within("consult")?.as_ref().map(read_consult).transpose()?;
    let kind = required(members.string(&["transferType"])?, "transferType")?;
    match kind.as_str() {
        // The particulars of a consult transfer say nothing about a blind one.
        "blind" => Ok(Kind::Blind),
        "consult" => Ok(Kind::Consult(
            particulars.unwrap_or(Consult { speak_to: SpeakTo::Destination, consulting_user: None }),
        )),
        _ => Err(invalid("transferType must be blind or consult.")),
    }
}

fn read_consult(members: &Members<'_>) -> Result<Consult, Problem> {
    let speak_to = match members.string(&["speakTo"])? {
        Some(name) => SpeakTo::ALL.into_iter().find(|it| it.name().eq_ignore_ascii_case(&name)),
        None => Some(SpeakTo::Destination),
    };
    let speak_to = speak_to
        .ok_or_else(|| invalid("consult.speakTo must be destination, object, both or conference."))?;
    let consulting_user = id(members, "consultingUserId")?;
    Ok(Consult { speak_to, consulting_user })
}

fn destination(members: &Members<'_>) -> Result<Destination, Problem> {
    let members = required(members.within("destination")?, "destination")?;
    let kind = members.string(&["type"])?.ok_or_else(|| invalid("destination.type is missing."))?;
    let text = members.string(&["id"])?.ok_or_else(|| invalid("destination.id is missing."))?;
    let malformed = |fault: &dyn std::fmt::Display| invalid(format!("destination.id {fault}."));
    match kind.as_str() {
        "queue" => Id::parse(&text).map(Destination::Queue).map_err(|fault| malformed(&fault)),
        "user" => Id::parse(&text).map(Destination::User).map_err(|fault| malformed(&fault)),
        "external" => Address::parse(&text).map(Destination::External).map_err(|fault| malformed(&fault)),
        _ => Err(invalid("destination.type must be queue, user or external.")),
    }
}

/// What a surface cannot express is refused, never silently left out.
fn refuse_unsupported(transfer: &Transfer, surface: Surface) -> Result<(), Problem> {
    let unsupported = |detail: &str| Err(Problem::new(problem::Kind::Unsupported, detail));
    match (surface, transfer) {
        (
            Surface::Platform,
            Transfer { destination: Destination::External(_), preserve_caller_id: Some(true), .. },
        ) => unsupported(
            "preserveCallerId cannot be asked for with an external destination: in the published API the number \
             shown there is a setting of the trunk.",
        ),
        (Surface::Guide, Transfer { participant: Some(_), .. }) => unsupported(
            "participantId cannot be given: the guides' API transfers the conversation as a whole.",
        ),
        (Surface::Guide, Transfer { kind: Kind::Consult(consult), .. })
            if consult.speak_to != SpeakTo::Destination =>
        {
            unsupported("consult.speakTo must be destination: the guides' API knows nothing else.")
        }
        _ => Ok(()),
    }
}

/// The canonical text of what is asked for, whatever was said in so many words.
fn content(transfer: &Transfer) -> String {
    let mut content = json!({
        "transferType": transfer.kind.name(),
        "destination": {"type": transfer.destination.kind(), "id": transfer.destination.id()},
        "preserveCallerId": transfer.preserve_caller_id,
        "participantId": transfer.participant.as_ref().map(Id::as_str),
        "allowUnstaffed": transfer.allow_unstaffed,
    });
    if let Kind::Consult(consult) = &transfer.kind {
        content["consult"] = json!({
            "speakTo": consult.speak_to.name(),
            "consultingUserId": consult.consulting_user.as_ref().map(Id::as_str),
        });
    }
    let canonical = canonical(&content.to_string()).expect("what serde_json writes has one spelling");
    format!("{}:{canonical}", transfer.conversation.as_str())
}

fn id<Noun>(members: &Members<'_>, name: &str) -> Result<Option<Id<Noun>>, Problem> {
    let text = members.string(&[name])?;
    let id = text.map(|text| Id::parse(&text)).transpose();
    id.map_err(|fault| invalid(format!("{} {fault}.", members.full_name(name))))
}

fn required<T>(member: Option<T>, name: &str) -> Result<T, Problem> {
    member.ok_or_else(|| invalid(format!("{name} is missing.")))
}

#[cfg(test)]
mod tests;
