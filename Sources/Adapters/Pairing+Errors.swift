internal import Architectures
internal import TensorModel

/// The errors for parts of an adapter that fit no tensor.
extension Pairing {
  func missingTensor(_ change: AdapterChange, count: Int) -> ModelError {
    let target = change.candidates[0].target
    let known = base.filter { !$0.isPart }.flatMap {
      [$0.info.name, $0.alias].compactMap { $0 }
    }
    let nearest = NearName.nearest(to: target, among: known, count: 3)
    if TensorNames.isTaskHead(target) {
      return ModelError(
        .mismatch, "the adapter brings a head for classification or values, and the base has none",
        tensor: target, expected: "a part of the base model", found: target,
        hint: "fold into a base model with this head, or remove the tensor from the adapter")
    }
    return ModelError(
      .mismatch,
      count == 1
        ? "the base model has no tensor for a part of the adapter"
        : "the base model has no tensors for \(count) parts of the adapter",
      tensor: target,
      expected: nearest.isEmpty ? nil : "a name such as " + nearest.joined(separator: ", "),
      found: target,
      hint: missingHint(target, hasNearest: !nearest.isEmpty))
  }

  func arranged(_ target: String) -> ModelError {
    ModelError(
      .unsupported, "other tensors are made of the one that the adapter changes", tensor: target,
      expected: "a tensor that llama.cpp stores as it is",
      found: "one that it divides or arranges", hint: Self.foldFirst)
  }

  /// What to do about a tensor that llama.cpp stores in another form.
  static let foldFirst = "fold into the Hugging Face model, then convert the result"

  private func missingHint(_ target: String, hasNearest: Bool) -> String {
    if TensorNames.isHead(target) {
      return "the base model has neither a head nor embeddings that could serve as one"
    }
    if TensorNames.isTower(target) {
      return "fold into a checkpoint with this tower, or remove its tensors from the adapter"
    }
    let names = base.flatMap { [$0.info.name, $0.alias].compactMap { $0 } }
    if let other = names.first(where: { NameMatching.end($0) == NameMatching.end(target) }) {
      return "\(other) has this layer and name: rename the adapter's tensors if they mean it"
    }
    return hasNearest
      ? "no tensor has this layer and name, whatever words stand before the layer"
      : "was the adapter trained for another model?"
  }

  func ambiguous(_ target: String, _ names: [String]) -> ModelError {
    ModelError(
      .mismatch, "a part of the adapter could mean several tensors of the base model",
      tensor: target, expected: "one of them", found: names.joined(separator: " and "),
      hint: "name the tensors of the adapter as the base model names them")
  }

  func shapeMismatch(
    _ adapter: Adapter, _ tensors: [Int], _ info: TensorInfo
  ) -> ModelError {
    let shapes = tensors.map { "\(adapter.tensors[$0].name) \(adapter.tensors[$0].shape)" }
    return ModelError(
      .mismatch, "the adapter does not fit the tensor", expected: "\(info.shape)",
      found: shapes.joined(separator: ", "),
      hint: tensors.contains { adapter.tensors[$0].shape.isShorterTable(than: info) }
        ? "fold into a base model with the vocabulary of the training" : nil)
  }
}
