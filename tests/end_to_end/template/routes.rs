//! The HTTP API: what it serves, and who may come in.

use std::collections::{BTreeMap, BTreeSet};

use harness::world::World;
use serde_json::{Value, json};
use simulator::Surface;

use super::{TEMPLATE, defaults, holds, resolved, resources, with};

const WEBHOOK: &str = "POST /webhooks/genesys";
const DATA_ACTIONS: &str = "POST /data-actions/{dataActionId}/invocations";
const TRANSFERS: &str = "POST /transfers";

/// The routes' properties under these parameters, by their keys.
fn routes(parameters: &BTreeMap<String, String>) -> BTreeMap<String, Value> {
    let routes = resources("AWS::ApiGatewayV2::Route").into_values();
    let named = |route: Value| {
        let route = resolved(&route["Properties"], parameters).expect("a route is not left out");
        (route["RouteKey"].as_str().expect("a key").to_owned(), route)
    };
    routes.map(named).collect()
}

#[tokio::test]
async fn every_route_of_the_template_is_served_and_with_its_method_only() {
    let world = World::start(Surface::Platform).await;
    let http = reqwest::Client::new();

    let routes = routes(&defaults());
    for key in routes.keys() {
        let (method, path) = key.split_once(' ').expect("method and path");
        let url = format!("{}{}", world.gateway.url(), path.replace("{dataActionId}", "a"));
        for other in ["GET", "PUT", "DELETE", "POST", "PATCH"] {
            let request = http.request(other.parse().unwrap(), &url).send().await.unwrap();
            let status = request.status().as_u16();
            assert_eq!(status == 405, other != method, "{other} {path}: {status}");
            assert_ne!(status, 404, "{other} {path}");
        }
    }
    let served: BTreeSet<_> = routes.keys().map(String::as_str).collect();
    assert_eq!(served, [DATA_ACTIONS, TRANSFERS, WEBHOOK].into());
}

#[test]
fn each_route_leads_to_its_function_which_lets_that_route_in_and_no_other() {
    let integrations = resources("AWS::ApiGatewayV2::Integration");
    let permissions = resources("AWS::Lambda::Permission");
    let lead_to: BTreeMap<_, _> = routes(&defaults())
        .into_iter()
        .map(|(key, route)| {
            let target = route["Target"]["Fn::Sub"].as_str().expect("a text").to_owned();
            let target = target.strip_prefix("integrations/${").and_then(|rest| rest.strip_suffix('}'));
            let integration = &integrations[target.expect("an integration")]["Properties"];
            assert_eq!(
                (&integration["IntegrationType"], &integration["PayloadFormatVersion"]),
                (&json!("AWS_PROXY"), &json!("2.0"))
            );
            (key, integration["IntegrationUri"]["Fn::GetAtt"].as_str().expect("a function").to_owned())
        })
        .collect();
    let expected = [
        (DATA_ACTIONS, "DataActionsFunction.Arn"),
        (TRANSFERS, "TransfersFunction.Arn"),
        (WEBHOOK, "WebhookIntakeFunction.Arn"),
    ];
    assert_eq!(lead_to, expected.map(|(key, function)| (key.to_owned(), function.to_owned())).into());

    let of_the_gateway = permissions.values().map(|it| &it["Properties"]);
    let let_in: BTreeSet<_> = of_the_gateway
        .filter(|it| it["Principal"] == "apigateway.amazonaws.com")
        .map(|it| {
            let source = it["SourceArn"]["Fn::Sub"].as_str().expect("an ARN").to_owned();
            let (_, path) = source.split_once("${HttpApi}/*/").expect("a route of this API");
            (it["FunctionName"]["Ref"].as_str().expect("a function").to_owned(), path.to_owned())
        })
        .collect();
    let expected: BTreeSet<_> = lead_to
        .iter()
        .map(|(key, function)| {
            let path = key.replace(" /", "/").replace("{dataActionId}", "*");
            (function.trim_end_matches(".Arn").to_owned(), path)
        })
        .collect();
    assert_eq!(let_in, expected);
}

#[test]
fn only_the_webhook_is_open_and_the_others_ask_for_iam_or_for_a_token() {
    let issuer = [("JwtIssuer", "https://login.example"), ("JwtAudience", "patchbay,others")];
    let scopes = [("JwtDataActionsScopes", "data-actions"), ("JwtTransfersScopes", "transfers,calls")];
    let with_scopes = [issuer.as_slice(), scopes.as_slice()].concat();
    let jwt = json!({"Ref": "JwtAuthorizer"});

    for (parameters, kind, authorizer, has_scopes) in [
        (defaults(), "AWS_IAM", Value::Null, false),
        // Without an issuer there is nobody whose scopes could be meant.
        (with(&scopes), "AWS_IAM", Value::Null, false),
        (with(&issuer), "JWT", jwt.clone(), false),
        (with(&with_scopes), "JWT", jwt.clone(), true),
    ] {
        let routes = routes(&parameters);
        assert_eq!(routes[WEBHOOK]["AuthorizationType"], "NONE");
        for (key, scopes) in [(DATA_ACTIONS, "data-actions"), (TRANSFERS, "transfers,calls")] {
            let route = &routes[key];
            assert_eq!(
                (route["AuthorizationType"].as_str(), &route["AuthorizerId"]),
                (Some(kind), &authorizer)
            );
            let asked_for = if has_scopes { json!({"Fn::Split": [",", scopes]}) } else { Value::Null };
            assert_eq!(route["AuthorizationScopes"], asked_for, "{key}");
        }
        let authorizer = &TEMPLATE["Resources"]["JwtAuthorizer"];
        let condition = authorizer["Condition"].as_str().expect("a condition");
        assert_eq!(holds(condition, &parameters), kind == "JWT");
        let configuration = resolved(&authorizer["Properties"]["JwtConfiguration"], &parameters).unwrap();
        assert_eq!(configuration["Issuer"], parameters["JwtIssuer"]);
        assert_eq!(configuration["Audience"], json!({"Fn::Split": [",", parameters["JwtAudience"]]}));
    }
}

#[test]
fn every_route_is_limited_and_the_open_one_by_itself() {
    let stage = TEMPLATE["Resources"]["HttpApiStage"].clone();
    let limits = |rate: &str, burst: &str| json!({"ThrottlingRateLimit": {"Ref": rate}, "ThrottlingBurstLimit": {"Ref": burst}});
    assert_eq!(stage["Properties"]["DefaultRouteSettings"], limits("ApiRateLimit", "ApiBurstLimit"));
    assert_eq!(
        stage["Properties"]["RouteSettings"],
        json!({WEBHOOK: limits("WebhookRateLimit", "WebhookBurstLimit")})
    );
    // API Gateway refuses settings of a route that is not there yet.
    assert_eq!(stage["DependsOn"], "WebhookRoute");
}

#[test]
fn every_request_is_in_the_access_log_with_who_called_and_why_not() {
    let stage = TEMPLATE["Resources"]["HttpApiStage"]["Properties"].clone();
    let format = stage["AccessLogSettings"]["Format"].as_str().expect("a format");
    let line: Value = serde_json::from_str(format).expect("a line is JSON");
    let logged: BTreeSet<_> = line.as_object().unwrap().values().map(|it| it.as_str().unwrap()).collect();
    for variable in [
        "$context.requestId",
        "$context.routeKey",
        "$context.status",
        "$context.identity.sourceIp",
        "$context.identity.userArn",
        "$context.authorizer.claims.sub",
        "$context.authorizer.error",
        "$context.error.message",
        "$context.integrationErrorMessage",
    ] {
        assert!(logged.contains(variable), "{variable}");
    }
}
