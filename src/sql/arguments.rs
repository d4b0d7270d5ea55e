//! Functions of which the arguments decide.

use pg_query::protobuf::{AConst, FuncCall, Node, a_const::Val, node::Node as Kind};

use super::{ClassifyReason, reference_checker::qualified_name};

/// Classifies a call of a built-in function by the arguments: harmless (`Some(None)`), or the reason to stay on the
/// primary; `None` if the name alone decides.
pub(super) fn classify_call(call: &FuncCall) -> Option<Option<ClassifyReason>> {
    let (schema, name) = qualified_name(&call.funcname)?;
    if !matches!(schema, None | Some("pg_catalog")) {
        return None;
    }
    match name {
        // Settings with a dot in the name belong to the application, and follow the session to each backend.
        "current_setting" => {
            let setting = call.args.first().and_then(constant_text)?;
            setting.contains('.').then_some(None)
        }
        "set_config" => {
            // The call might lift READ ONLY.
            let setting = call.args.first().and_then(constant_text);
            let harmless =
                setting.is_some_and(|setting| !setting.to_ascii_lowercase().contains("transaction"));
            (!harmless).then_some(Some(ClassifyReason::Uncovered))
        }
        _ => None,
    }
}

/// The text of a constant.
fn constant_text(node: &Node) -> Option<&str> {
    match &node.node {
        Some(Kind::AConst(AConst { val: Some(Val::Sval(text)), .. })) => Some(&text.sval),
        _ => None,
    }
}
