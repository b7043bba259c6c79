//! A stateful stand-in for Genesys Cloud, with faults, on both API surfaces.
//!
//! It is a real HTTP server on the loopback interface. Tests start one each and look at it through [`Simulator`];
//! a person uses the control panel at `/_simulator`. It keeps what a client can cause ([`Effect`], [`Transfer`],
//! [`PolicyWrite`]), what it saw ([`SeenRequest`]) and what no correct client would have sent ([`Anomaly`]); a [`Fault`] makes the next requests
//! of one [`Operation`] go wrong in a chosen way.
//!
//! Requests on the `platform` surface are held against the published `OpenAPI` shapes. Organisations and rate limits
//! are not simulated: the rate-limit headers count, and nothing is refused on their account. Of permissions there is
//! only [`Simulator::forbid`]. What a noun lacks is said in its module.

mod api;
mod control;
mod data_actions;
mod behaviour;
mod conversations;
mod transfers;
mod directory;
mod retention;
mod faults;
mod oauth;
mod published;
mod server;
mod surface;
mod world;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use serde_json::Value;

pub use crate::behaviour::Behaviour;
pub use crate::conversations::{Conversation, Participant};
pub use crate::data_actions::Effect;
pub use crate::directory::{Queue, User};
pub use crate::faults::Fault;
pub use crate::retention::{
    Change, Job, JobState, NextUri, Origin, Pages, Policy, PolicyCourse, PolicyWrite, StoredPolicy,
};
pub use crate::surface::{Operation, Surface, UnknownName};
pub use crate::transfers::{Course, Destination, Transfer, TransferKind, TransferState, UserContext};
pub use crate::world::{Anomaly, SeenRequest};

use crate::retention::{Cap, Overlaps};
use crate::server::Server;
use crate::world::World;

/// A handle to a running simulator. Clones are handles to the same one; it ends with [`Simulator::stop`], or when
/// the last handle is dropped.
#[derive(Clone)]
pub struct Simulator {
    world: Arc<World>,
    server: Arc<Server>,
}

impl Simulator {
    /// Starts one on a free port of the loopback interface.
    pub async fn start(surface: Surface) -> std::io::Result<Self> {
        Self::start_at(surface, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// Starts one on the given address.
    pub async fn start_at(surface: Surface, addr: SocketAddr) -> std::io::Result<Self> {
        let world = Arc::new(World::new(surface));
        let server = Server::start(addr, api::router(&world)).await?;
        Ok(Self { world, server: Arc::new(server) })
    }

    /// Where it answers, without a trailing slash: the API host and the login host in one.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// The surface it answers on.
    #[must_use]
    pub fn surface(&self) -> Surface {
        self.world.surface
    }

    /// The client id and the client secret it accepts.
    #[must_use]
    pub fn credentials(&self) -> (String, String) {
        self.world.state().oauth.credentials()
    }

    /// Accepts only these from now on, as after a rotation. Tokens already issued stay good.
    pub fn set_credentials(&self, id: &str, secret: &str) {
        self.world.state().oauth.set_credentials(id, secret);
    }

    /// `expires_in` of the tokens issued from now on, 86400 unless said otherwise. A token whose life is over is
    /// refused.
    pub fn token_lifetime(&self, seconds: u64) {
        self.world.state().oauth.set_lifetime(seconds);
    }

    /// Makes every token issued so far answer 401.
    pub fn expire_tokens(&self) {
        self.world.state().oauth.forget_all();
    }

    /// Declares a data action, or changes what a declared one does. Any other id answers 404.
    pub fn data_action(&self, id: &str, behaviour: Behaviour) {
        self.world.state().actions.declare(id, behaviour);
    }

    /// Every execution of this action that took effect, in order.
    #[must_use]
    pub fn effects(&self, action_id: &str) -> Vec<Effect> {
        self.executions(action_id).into_iter().filter(|effect| effect.performed).collect()
    }

    /// How many executions took effect, over all actions.
    #[must_use]
    pub fn effect_count(&self) -> usize {
        self.world.state().actions.effect_count()
    }

    /// Every execution of this action, in order, those without effect (a declared status of 400 or more) too.
    #[must_use]
    pub fn executions(&self, action_id: &str) -> Vec<Effect> {
        self.world.state().actions.executions(action_id)
    }

    /// Declares a conversation, or declares it anew. Any other id answers 404.
    pub fn conversation(&self, id: &str, conversation: Conversation) {
        let now = self.world.now();
        self.world.state().conversations.declare(id, conversation, now);
    }

    /// Changes how the next transfers of a declared conversation go.
    pub fn transfers_go(&self, conversation_id: &str, course: Course) {
        self.world.state().conversations.set_course(conversation_id, course);
    }

    /// Who takes part in a conversation now, whether it shows already or not. Nobody, if it was not declared.
    #[must_use]
    pub fn participants(&self, conversation_id: &str) -> Vec<Participant> {
        let state = self.world.state();
        state.conversations.live(conversation_id).map(|live| live.participants().to_vec()).unwrap_or_default()
    }

    /// Every transfer of this conversation that took effect, in order. One that failed, was canceled or timed out
    /// after it had been accepted is among them; a refused one is not.
    #[must_use]
    pub fn transfers(&self, conversation_id: &str) -> Vec<Transfer> {
        self.world.state().conversations.transfers(conversation_id).cloned().collect()
    }

    /// How many transfers took effect, over all conversations.
    #[must_use]
    pub fn transfer_count(&self) -> usize {
        self.world.state().conversations.log().len()
    }

    /// What a consult on `platform` asks of the client from now on.
    pub fn consult_needs(&self, context: UserContext) {
        self.world.state().consult_needs = context;
    }

    /// Declares a queue, or declares it anew. Any other id answers 404.
    pub fn queue(&self, id: &str, queue: Queue) {
        self.world.state().directory.declare_queue(id, queue);
    }

    /// Declares a user, or declares it anew. Any other id answers 404.
    pub fn user(&self, id: &str, user: User) {
        self.world.state().directory.declare_user(id, user);
    }

    /// Declares a retention policy, or declares it anew.
    pub fn policy(&self, id: &str, policy: Policy) {
        let now = self.world.now();
        self.world.state().retention.declare(id, policy, self.world.surface, now);
    }

    /// Every policy that is there now, declared or created, in the order in which they came to be.
    #[must_use]
    pub fn policies(&self) -> Vec<StoredPolicy> {
        self.world.state().retention.policies(self.world.surface)
    }

    /// Changes a policy behind the client's back. There must be one of this id.
    pub fn edit_policy(&self, id: &str, edit: impl FnOnce(&mut Value)) {
        let now = self.world.now();
        self.world.state().retention.edit(id, edit, now);
    }

    /// Takes a policy away behind the client's back, if there is one of this id.
    pub fn remove_policy(&self, id: &str) {
        self.world.state().retention.remove(id);
    }

    /// Every change of a policy by a client that took effect, in order. What was refused is not among them.
    #[must_use]
    pub fn policy_writes(&self) -> Vec<PolicyWrite> {
        self.world.state().retention.writes().to_vec()
    }

    /// How the next policies go that have no course of their own.
    pub fn policies_go(&self, course: PolicyCourse) {
        self.world.state().retention.set_course(course);
    }

    /// How the next policies of this name go.
    pub fn policy_goes(&self, name: &str, course: PolicyCourse) {
        self.world.state().retention.set_course_of(name, course);
    }

    /// Every job of `guide`, in the order in which they began.
    #[must_use]
    pub fn jobs(&self) -> Vec<Job> {
        self.world.state().retention.jobs().cloned().collect()
    }

    /// Ends every job that runs now, as its course says.
    pub fn finish_jobs(&self) {
        let now = self.world.now();
        self.world.state().retention.finish_jobs(now);
    }

    /// On `guide`, answers 409 to a new policy if there is one for the same objects, of another name, and with a period
    /// that differs by less than 15 days. This is how it is unless said otherwise.
    pub fn refuse_overlaps(&self) {
        self.world.state().retention.overlaps = Overlaps::Refused;
    }

    /// Does not.
    pub fn allow_overlaps(&self) {
        self.world.state().retention.overlaps = Overlaps::Allowed;
    }

    /// For how many days the organisation keeps anything at most, 36500 unless said otherwise. Only `platform` tells,
    /// and refuses policies that exceed it.
    pub fn retention_cap(&self, days: u64) {
        self.world.state().retention.cap = Cap(days);
    }

    /// How the list of policies is cut from now on.
    pub fn policy_pages(&self, pages: Pages) {
        self.world.state().retention.pages = pages;
    }

    /// Answers 403 to every request for this operation, as to a client whose role lacks the permission.
    pub fn forbid(&self, operation: Operation) {
        self.world.state().oauth.forbid(operation);
    }

    /// Permits what was forbidden.
    pub fn permit(&self, operation: Operation) {
        self.world.state().oauth.permit(operation);
    }

    /// Queues a fault. Faults of an operation are taken in order by the requests that pass its door: well formed,
    /// with good credentials or a good token.
    pub fn fault(&self, operation: Operation, fault: Fault) {
        self.world.state().faults.push(operation, fault);
    }

    /// Lets a fault befall every so many-th request for this operation, as far as nothing else befalls them: `3` spares
    /// two, strikes, and so on until the faults are cleared. How many times the fault says it befalls does not count.
    pub fn fault_every(&self, operation: Operation, every: u32, fault: Fault) {
        self.world.state().faults.share(operation, every, fault);
    }

    /// The faults nobody has met yet, and for how many requests each: a test that leaves one has not tested it.
    #[must_use]
    pub fn faults_left(&self) -> Vec<(Operation, Fault, u32)> {
        let state = self.world.state();
        state.faults.pending().map(|(operation, fault, times)| (operation, fault.clone(), times)).collect()
    }

    /// Forgets the faults nobody has met yet. What is stalled stays stalled.
    pub fn clear_faults(&self) {
        self.world.state().faults.clear();
    }

    /// Lets every request that a stall holds now go on.
    pub fn release_stalled(&self) {
        self.world.release_stalled();
    }

    /// Every request seen, token requests and refused ones too, in order of arrival. The control panel's are not
    /// among them.
    #[must_use]
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.world.state().requests.clone()
    }

    /// How many requests of this kind have arrived, refused ones too.
    #[must_use]
    pub fn request_count(&self, operation: Operation) -> usize {
        self.world.state().request_count(operation)
    }

    /// What no correct client would have sent, in order.
    #[must_use]
    pub fn anomalies(&self) -> Vec<Anomaly> {
        self.world.state().anomalies.clone()
    }

    /// Resolves when at least `n` requests of this kind have arrived. An arrived request has not yet been acted on:
    /// see [`Simulator::wait_for_stalled`] for that.
    pub async fn wait_for_requests(&self, operation: Operation, n: usize) {
        self.world.wait_until(|state| state.request_count(operation) >= n).await;
    }

    /// Resolves when exactly `n` requests are being held by a stall: `1` once one has got there, `0` once each was
    /// released or its client was seen to be gone.
    pub async fn wait_for_stalled(&self, n: usize) {
        self.world.wait_until(|state| state.stalled == n).await;
    }

    /// Closes the port and every connection, and returns when that is done. Other handles still tell what was seen.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

#[cfg(test)]
mod client;
