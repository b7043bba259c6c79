//! The roles: what each may do beyond the table follows from what its function is made of.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    FUNCTIONS, TEMPLATE, as_list, as_text, defaults, events, functions, holds, resolved, resources, texts,
    with,
};

const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/of-the-table";
const SECRETS_KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/of-the-secrets";

/// The statements of a role's own policies, with every optional one.
pub(super) fn statements(role: &str) -> Vec<Value> {
    let policies = TEMPLATE["Resources"][role]["Properties"]["Policies"].clone();
    let policies = policies.as_array().unwrap_or_else(|| panic!("{role} has no policies")).iter();
    policies
        .flat_map(|policy| policy["PolicyDocument"]["Statement"].as_array().expect("a list"))
        .map(unconditional)
        .collect()
}

/// A statement that may be left out, as it is where it is not.
fn unconditional(statement: &Value) -> Value {
    statement.get("Fn::If").map_or(statement, |condition| &condition[1]).clone()
}

/// What a statement is about: a resource's attribute, or what a parameter names.
fn about(statement: &Value) -> BTreeSet<String> {
    let resources = as_list(&statement["Resource"]);
    let name = |resource: &Value| {
        let named = ["Fn::GetAtt", "Ref", "Fn::Sub"].iter().find_map(|form| resource[form].as_str());
        named.map_or_else(|| as_text(resource), str::to_owned)
    };
    resources.iter().map(name).collect()
}

/// What AWS does for a function, or lets it do, with the function's role, but for the table itself.
fn owed(binary: &str, name: &str) -> BTreeSet<(String, String)> {
    let function = &functions()[binary];
    let mut owed = BTreeSet::new();
    let mut owe = |actions: &[&str], of: &str| {
        owed.extend(actions.iter().map(|action| ((*action).to_owned(), of.to_owned())));
    };
    owe(&["logs:CreateLogStream", "logs:PutLogEvents"], &format!("{name}Logs.Arn"));
    for (variable, value) in function["Environment"]["Variables"].as_object().expect("variables") {
        let value = value.get("Fn::If").map_or(value, |condition| &condition[1]);
        if variable.ends_with("_SECRET_ID") {
            owe(&["secretsmanager:GetSecretValue"], value["Ref"].as_str().expect("a parameter"));
        }
        if variable == "EVENT_BUS_NAME" {
            owe(&["events:PutEvents"], &format!("{}.Arn", value["Ref"].as_str().expect("the bus")));
        }
    }
    let mut destinations = vec![function["EventInvokeConfig"]["DestinationConfig"].clone()];
    for (_, queue) in events("SQS").iter().filter(|(of, _)| of == binary) {
        let actions = ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"];
        owe(&actions, queue["Queue"]["Fn::GetAtt"].as_str().expect("a queue"));
    }
    for (_, stream) in events("DynamoDB").iter().filter(|(of, _)| of == binary) {
        let actions = ["DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"];
        let actions = actions.map(|action| format!("dynamodb:{action}"));
        owe(
            &actions.each_ref().map(String::as_str),
            stream["Stream"]["Fn::GetAtt"].as_str().expect("a stream"),
        );
        destinations.push(stream["DestinationConfig"].clone());
    }
    for destination in
        destinations.iter().filter_map(|it| it["OnFailure"]["Destination"]["Fn::GetAtt"].as_str())
    {
        owe(&["sqs:SendMessage"], destination);
    }
    owed
}

#[test]
fn each_functions_role_may_do_what_its_settings_sources_and_logs_need_and_no_more() {
    for (binary, name) in FUNCTIONS {
        let role = format!("{name}Role");
        assert_eq!(functions()[binary]["Role"]["Fn::GetAtt"], format!("{role}.Arn"));
        let granted: BTreeSet<_> = statements(&role)
            .iter()
            .flat_map(|statement| {
                let actions = texts(&statement["Action"]);
                let about = about(statement);
                actions
                    .into_iter()
                    .flat_map(move |action| about.clone().into_iter().map(move |it| (action.clone(), it)))
            })
            .filter(|(_, about)| !about.starts_with("Table.Arn") && !about.starts_with("${Table.Arn}"))
            .collect();
        assert_eq!(granted, owed(binary, name), "{role}");
    }
}

#[test]
fn scheduler_may_invoke_what_it_has_schedules_for_and_keep_what_it_could_not() {
    let scheduled: BTreeSet<_> = events("ScheduleV2")
        .into_iter()
        .map(|(binary, _)| {
            let (_, name) = FUNCTIONS.into_iter().find(|(of, _)| *of == binary).expect("a function");
            format!("{name}Function.Arn")
        })
        .collect();
    let statements = statements("SchedulerRole");
    let granted: Vec<_> = statements.iter().map(|it| (as_text(&it["Action"]), about(it))).collect();
    let failures = BTreeSet::from(["ScheduleFailures.Arn".to_owned()]);
    assert_eq!(
        granted,
        [("lambda:InvokeFunction".to_owned(), scheduled), ("sqs:SendMessage".to_owned(), failures)]
    );
}

#[test]
fn genesys_cloud_may_invoke_two_functions_if_it_knows_the_organisation() {
    let role = TEMPLATE["Resources"]["GenesysRole"].clone();
    assert_eq!(role["Condition"], "HasGenesysOrganization");
    let id = "1f0b2a4e-0000-4000-8000-000000000001";
    for (region, account) in [("mypurecloud.ie", "765628985471"), ("use2.us-gov-pure.cloud", "325654371633")]
    {
        let parameters = with(&[("GenesysRegion", region), ("GenesysOrganizationId", id)]);
        let trust = resolved(&role["Properties"]["AssumeRolePolicyDocument"]["Statement"], &parameters);
        let expected = json!([{
            "Effect": "Allow",
            "Principal": {"AWS": {"Fn::Sub": format!("arn:${{AWS::Partition}}:iam::{account}:root")}},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": id}},
        }]);
        assert_eq!(trust, Some(expected));
    }
    let [invoke] = &statements("GenesysRole")[..] else { panic!("one statement") };
    assert_eq!(invoke["Action"], "lambda:InvokeFunction");
    let two = ["DataActionsFunction.Arn", "TransfersFunction.Arn"].map(str::to_owned);
    assert_eq!(about(invoke), two.into());
}

/// The one statement of a policy that several roles attach, the condition of both, and those roles.
fn shared(policy: &str) -> (Value, String, BTreeSet<String>) {
    let resource = &TEMPLATE["Resources"][policy];
    assert_eq!(resource["Type"], "AWS::IAM::ManagedPolicy", "{policy}");
    let [statement] = &as_list(&resource["Properties"]["PolicyDocument"]["Statement"])[..] else {
        panic!("one statement: {resource}")
    };
    let condition = as_text(&resource["Condition"]);
    let element = json!({"Fn::If": [condition, {"Ref": policy}, {"Ref": "AWS::NoValue"}]});
    let attaches = |role: &Value| as_list(&role["Properties"]["ManagedPolicyArns"]).contains(&element);
    let roles = resources("AWS::IAM::Role").into_iter().filter(|(_, role)| attaches(role));
    (statement.clone(), condition, roles.map(|(name, _)| name).collect())
}

fn via(statement: &Value) -> BTreeSet<String> {
    let services = as_list(&statement["Condition"]["StringEquals"]["kms:ViaService"]);
    let service =
        |it: &Value| it["Fn::Sub"].as_str().expect("a text").split('.').next().expect("a name").to_owned();
    services.iter().map(service).collect()
}

#[test]
fn a_key_of_ones_own_may_be_used_by_whom_the_table_queues_and_secrets_are_for() {
    let roles: BTreeSet<_> = FUNCTIONS.iter().map(|(_, name)| format!("{name}Role")).collect();
    let parameters = with(&[("KmsKeyArn", KEY), ("SecretsKmsKeyArn", SECRETS_KEY)]);

    let (statement, condition, of) = shared("KmsKeyPolicy");
    assert!(holds(&condition, &parameters) && !holds(&condition, &defaults()));
    let mut with_scheduler = roles.clone();
    with_scheduler.insert("SchedulerRole".to_owned());
    assert_eq!((&of, via(&statement)), (&with_scheduler, ["dynamodb", "sqs"].map(str::to_owned).into()));
    assert_eq!(texts(&statement["Action"]), ["kms:Decrypt", "kms:GenerateDataKey"].map(str::to_owned).into());
    assert_eq!(resolved(&statement["Resource"], &parameters), Some(json!(KEY)));

    let (statement, condition, of) = shared("SecretsKmsKeyPolicy");
    assert!(holds(&condition, &parameters) && !holds(&condition, &defaults()));
    let reads_secrets = |(binary, _): &&(&str, &str)| {
        let variables = functions()[*binary]["Environment"]["Variables"].clone();
        variables.as_object().expect("variables").keys().any(|name| name.ends_with("_SECRET_ID"))
    };
    let readers: BTreeSet<_> =
        FUNCTIONS.iter().filter(reads_secrets).map(|(_, name)| format!("{name}Role")).collect();
    assert_eq!((of, via(&statement)), (readers, ["secretsmanager".to_owned()].into()));
    assert_eq!(statement["Action"], "kms:Decrypt");
    assert_eq!(resolved(&statement["Resource"], &parameters), Some(json!(SECRETS_KEY)));
}

/// Every statement of every policy, wherever it hangs.
fn all_statements(value: &Value, found: &mut Vec<Value>) {
    match value {
        Value::Array(elements) => elements.iter().for_each(|element| all_statements(element, found)),
        Value::Object(members) => {
            let statements = members.get("Statement").and_then(Value::as_array).into_iter().flatten();
            found.extend(statements.map(unconditional));
            members.values().for_each(|member| all_statements(member, found));
        }
        _ => {}
    }
}

#[test]
fn no_policy_is_open_to_everything() {
    let mut found = Vec::new();
    all_statements(&TEMPLATE["Resources"], &mut found);
    assert!(found.len() > 40, "{found:?}");

    let mut without_resource = Vec::new();
    for statement in found {
        let actions = texts(&statement["Action"]);
        assert!(actions.iter().all(|action| !action.contains('*')), "{statement}");
        for member in ["NotAction", "NotResource", "NotPrincipal"] {
            assert!(statement.get(member).is_none(), "{statement}");
        }
        assert_ne!(statement["Principal"], "*", "{statement}");
        if about(&statement).iter().any(|resource| resource.contains('*')) {
            without_resource.extend(actions);
        }
    }
    // X-Ray has no resource that these could name.
    assert_eq!(without_resource, ["xray:PutTelemetryRecords", "xray:PutTraceSegments"]);
    let (_, condition, roles) = shared("TracingPolicy");
    assert_eq!(roles, FUNCTIONS.map(|(_, name)| format!("{name}Role")).into());
    assert!(holds(&condition, &defaults()) && !holds(&condition, &with(&[("Tracing", "PassThrough")])));
}

#[test]
fn a_role_attaches_the_shared_policies_and_no_others() {
    let shared: BTreeSet<_> = resources("AWS::IAM::ManagedPolicy").into_keys().collect();
    assert_eq!(shared, ["TracingPolicy", "KmsKeyPolicy", "SecretsKmsKeyPolicy"].map(str::to_owned).into());
    assert!(resources("AWS::IAM::Policy").is_empty());
    for (name, role) in resources("AWS::IAM::Role") {
        for attached in role["Properties"]["ManagedPolicyArns"].as_array().into_iter().flatten() {
            let policy = attached["Fn::If"][1]["Ref"].as_str().unwrap_or_default();
            assert!(shared.contains(policy), "{name}: {attached}");
        }
    }
}

#[test]
fn everything_a_role_names_is_of_this_template() {
    let template = &*TEMPLATE;
    let roles = resources("AWS::IAM::Role");
    assert_eq!(roles.len(), FUNCTIONS.len() + 2, "{:?}", roles.keys());
    for statement in roles.keys().flat_map(|role| statements(role)) {
        for named in about(&statement) {
            let name = named.trim_start_matches("${").split('.').next().expect("a name").to_owned();
            let is_known = ["Resources", "Parameters"].iter().any(|part| template[part].get(&name).is_some());
            assert!(is_known, "{named}");
        }
    }
}

#[test]
fn a_service_assumes_a_role_or_genesys_cloud_does_and_nobody_else() {
    for (name, role) in resources("AWS::IAM::Role") {
        let trust = &role["Properties"]["AssumeRolePolicyDocument"]["Statement"];
        let [statement] = &trust.as_array().expect("a list")[..] else { panic!("{name}: {trust}") };
        let service = statement["Principal"]["Service"].as_str();
        let expected = match name.as_str() {
            "GenesysRole" => None,
            "SchedulerRole" => Some("scheduler.amazonaws.com"),
            _ => Some("lambda.amazonaws.com"),
        };
        assert_eq!(service, expected, "{name}");
        assert_eq!(statement["Action"], "sts:AssumeRole", "{name}");
    }
}
