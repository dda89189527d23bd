internal import Architectures
internal import Bytes
internal import TensorModel

/// Interprets the tensors of an adapter of llama.cpp.
///
/// `lora_a` is [rank, inputs] and `lora_b` is [outputs, rank]. Stacks of experts have one more
/// dimension in front. For token embeddings, `lora_a` is [tokens, rank]. Other tensors, such as
/// norms, replace those of the base model.
struct GGUFReading {
  private let contents: AdapterContents

  init(_ contents: AdapterContents) { self.contents = contents }

  /// Returns the adapter.
  ///
  /// Throws `mismatch` and `malformed`, and `unsupported` for another kind of adapter.
  func adapter() throws(ModelError) -> Adapter {
    let config = contents.config
    let type = config["adapter.type"]?.string ?? ""
    guard type == "lora", config["adapter.alora.invocation_tokens"] == nil else {
      throw ModelError(
        .unsupported, "not a LoRA adapter", expected: "adapter.type lora",
        found: type == "lora" ? "an activated LoRA, which acts on some tokens only" : type)
    }
    let alpha = config["adapter.lora.alpha"]?.double ?? 0
    var modules: [(name: String, a: Int?, b: Int?)] = []
    var moduleIndices: [String: Int] = [:]
    var replacements: [AdapterChange] = []
    for (index, tensor) in contents.tensors.enumerated() {
      let isA = tensor.name.hasSuffix(".lora_a")
      guard isA || tensor.name.hasSuffix(".lora_b") else {
        replacements.append(AdapterChange(tensor.name, .replacement(tensor: index)))
        continue
      }
      let name = String(tensor.name.dropLast(7))
      if moduleIndices[name] == nil {
        moduleIndices[name] = modules.count
        modules.append((name, nil, nil))
      }
      let module = moduleIndices[name] ?? 0
      if isA { modules[module].a = index } else { modules[module].b = index }
    }
    var adapter = Adapter(contents, .gguf)
    adapter.changes = replacements
    for module in modules {
      adapter.changes.append(
        AdapterChange(module.name, .lowRank(try change(module.name, module.a, module.b, alpha))))
    }
    return adapter
  }

  private func change(
    _ name: String, _ a: Int?, _ b: Int?, _ alpha: Double
  ) throws(ModelError) -> LowRank {
    guard let a, let b else {
      throw ModelError(
        .malformed, "a factor of the adapter is missing", tensor: name,
        expected: "\(name).lora_\(a == nil ? "a" : "b")")
    }
    let shapes = [contents.tensors[a].shape, contents.tensors[b].shape]
    let (first, second) = (shapes[0].dimensions, shapes[1].dimensions)
    let isEmbedding = name == TensorNames.ggufEmbeddings
    let rank = second.last ?? 0
    let stacked = first.count == 3 && second.count == 3 && first[0] == second[0] && !isEmbedding
    guard rank > 0, stacked || first.count == 2 && second.count == 2,
      first[first.count - (isEmbedding ? 1 : 2)] == rank
    else {
      throw ModelError(
        .mismatch, "the factors do not fit each other", tensor: name, expected: "equal ranks",
        found: "\(shapes[0]) and \(shapes[1])")
    }
    let scale = alpha == 0 ? 1 : alpha / Double(rank)
    let height = second[second.count - 2]
    if isEmbedding {
      return LowRank(
        left: .vectors(a, count: first[0], rank: rank),
        right: .vectors(b, count: height, rank: rank), rank: rank, scale: scale)
    }
    let width = first[first.count - 1]
    var left = Factor.vectors(b, count: height, rank: rank)
    var right = Factor.ranks(a, count: width)
    guard stacked else { return LowRank(left: left, right: right, rank: rank, scale: scale) }
    left.expertStride = height * rank
    right.expertStride = rank * width
    return LowRank(left: left, right: right, rank: rank, scale: scale, expertCount: first[0])
  }
}
