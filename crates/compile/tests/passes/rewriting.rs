//! Copying with replacements: names, sharing and the checks around them.

use pellucid_compile::passes::{Prune, Replace, Site, rewrite};
use pellucid_compile::{Builder, Result, Var, lower};
use pellucid_graph::{Dim, ElementType, Graph, NewNode, Tensor};

use crate::{counts, deviation, operators, output_names};

/// Three numbers and what follows of them, under these names.
fn chain(operators: &[(&str, &str)]) -> Graph {
    let mut graph = Graph::new();
    let mut last = graph.add_input("x", ElementType::F64, Some(vec![Dim::known(3)])).unwrap();
    for (operator, name) in operators {
        last = graph.push_one(NewNode::new(operator, &[last], *name)).unwrap();
        graph.add_output(last).unwrap();
    }
    graph
}

/// Replaces nodes of one operator by a function of the input.
struct By(&'static str, for<'g> fn(Var<'g>) -> Vec<Var<'g>>);

impl Replace for By {
    fn replace<'g>(&mut self, site: &Site<'g, '_>) -> Result<Option<Vec<Var<'g>>>> {
        Ok((site.node().operator == self.0).then(|| (self.1)(site.input(0).unwrap())))
    }
}

#[test]
fn a_copy_without_replacements_is_equal() {
    let mut graph = chain(&[("Relu", "a"), ("Neg", "b"), ("Relu", "c")]);
    graph.add_constant("unused", Tensor::integers(&[1, 2])).unwrap();
    graph.push_one(NewNode::new("Abs", &[graph.find("a").unwrap()], "dead")).unwrap();
    let mut never = By("Sin", |x| vec![x]);
    assert_eq!(rewrite(&graph, "p", Prune::Nothing, &mut never).unwrap(), graph);
    let pruned = rewrite(&graph, "p", Prune::Unreachable, &mut never).unwrap();
    assert_eq!(pruned, graph.pruned().unwrap());
    assert!(pruned.find("dead").is_none() && pruned.find("unused").is_none());
}

#[test]
fn what_has_a_name_of_its_own_is_copied_under_the_other() {
    let graph = chain(&[("Relu", "a"), ("Identity", "b"), ("Neg", "c")]);
    // The copy is left out: what it copied goes on under both names.
    let rewritten = rewrite(&graph, "p", Prune::Nothing, &mut By("Identity", |x| vec![x])).unwrap();
    assert_eq!(output_names(&rewritten), ["a", "b", "c"]);
    assert!(deviation(&graph, &rewritten) <= 0.0);
}

#[test]
fn a_shared_number_keeps_its_own_name() {
    let graph = chain(&[("Abs", "a"), ("Abs", "b"), ("Neg", "c")]);
    let mut zeros = By("Abs", |x| vec![x.scalar(0.5)]);
    let rewritten = rewrite(&graph, "p", Prune::Nothing, &mut zeros).unwrap();
    assert_eq!(output_names(&rewritten), ["a", "b", "c"]);
    assert_eq!(operators(&rewritten), counts(&[("Identity", 2), ("Neg", 1)]));
}

#[test]
fn a_replacement_for_each_output_is_asked_for() {
    let graph = chain(&[("Relu", "a")]);
    let error = rewrite(&graph, "p", Prune::Nothing, &mut By("Relu", |x| vec![x, x])).unwrap_err();
    assert!(error.to_string().contains("2 values replace the 1 outputs of Relu"), "{error}");
}

#[test]
fn names_that_a_pass_would_give_may_be_taken() {
    let b = Builder::new(Graph::new());
    let x = b.input("x", ElementType::F64, vec![Dim::known(3)]);
    let gelu = x.apply("Gelu").id();
    let mut graph = b.finish().unwrap();
    let mut last = gelu;
    for number in 0..12 {
        for operator in ["Constant", "Div", "Erf", "Add", "Mul"] {
            let name = format!("lowered.{number}.{operator}");
            last = graph.push_one(NewNode::new("Neg", &[last], name)).unwrap();
        }
    }
    graph.add_output(last).unwrap();
    let lowered = lower(&graph).unwrap();
    assert_eq!(output_names(&lowered), output_names(&graph));
    assert!(deviation(&graph, &lowered) < 1e-15);
}
