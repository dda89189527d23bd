internal import Architectures
internal import Bytes
internal import TensorModel

/// Interprets the tensors of an adapter of mlx-lm.
///
/// For a linear layer, `lora_a` is [inputs, rank] and `lora_b` is [rank, outputs]. For a switch
/// layer of experts, they are [experts, rank, inputs] and [experts, outputs, rank]. After a full
/// training, the tensors are whole weights.
struct MLXReading {
  private let contents: AdapterContents
  private let scale: Double
  private let usesDoRA: Bool
  private var modules: [(path: String, tensors: [String: Int])] = []
  /// Whether the tensors are whole weights.
  private let isFull: Bool
  private var problems = Problems()

  /// Throws `malformed` for an invalid config, `unsupported` for another method than LoRA or DoRA.
  init(_ contents: AdapterContents) throws(ModelError) {
    self.contents = contents
    let config = contents.config
    let type = config["fine_tune_type"]?.string ?? "lora"
    guard ["lora", "dora", "full"].contains(type) else {
      throw ModelError(
        .unsupported, "not an adapter that Pleat folds",
        expected: "fine_tune_type lora, dora or full", found: type)
    }
    usesDoRA = type == "dora"
    isFull = type == "full"
    guard !isFull else {
      scale = 1
      return
    }
    let parameters = config["lora_parameters"]
    guard let scale = parameters?["scale"]?.double, scale.isFinite else {
      throw ModelError(
        .malformed, "the scale of the adapter is missing",
        expected: "lora_parameters with a scale in adapter_config.json",
        found: parameters == nil ? "no lora_parameters" : "no scale")
    }
    self.scale = scale
    var moduleIndices: [String: Int] = [:]
    for (index, tensor) in contents.tensors.enumerated() {
      guard let dot = tensor.name.lastIndex(of: ".") else {
        problems.add("the tensor '\(tensor.name)'")
        continue
      }
      let (path, role) = (
        String(tensor.name[..<dot]), String(tensor.name[tensor.name.index(after: dot)...])
      )
      guard ["lora_a", "lora_b", "m"].contains(role) else {
        problems.add("the tensor '\(tensor.name)'")
        continue
      }
      if moduleIndices[path] == nil {
        moduleIndices[path] = modules.count
        modules.append((path, [:]))
      }
      modules[moduleIndices[path] ?? 0].tensors[role] = index
    }
  }

  /// Returns the adapter.
  ///
  /// Throws `mismatch` and `malformed`, and one `unsupported` for everything that is unsupported.
  func adapter() throws(ModelError) -> Adapter {
    try problems.check()
    var adapter = Adapter(contents, .mlx)
    // mlx-lm computes the logits of tied embeddings with the changed ones.
    adapter.tiesEmbeddings = true
    if isFull {
      adapter.changes = contents.tensors.enumerated().map {
        AdapterChange($1.name, .replacement(tensor: $0))
      }
      return adapter
    }
    if contents.config["lora_parameters"]?["alpha"] != nil {
      adapter.notes.append(
        "\(contents.path) has an alpha, which old versions of mlx-lm wrote; only the scale is "
          + "used, as in new versions")
    }
    for (path, tensors) in modules {
      do throws(ModelError) {
        adapter.changes.append(
          AdapterChange(path + ".weight", .lowRank(try change(path, tensors))))
      } catch {
        throw error.located(tensor: path)
      }
    }
    return adapter
  }

  private func change(_ path: String, _ tensors: [String: Int]) throws(ModelError) -> LowRank {
    guard let a = tensors["lora_a"], let b = tensors["lora_b"],
      (tensors["m"] != nil) == usesDoRA
    else {
      throw ModelError(
        .malformed, "a layer of the adapter has the wrong tensors",
        expected: usesDoRA ? "lora_a, lora_b and m" : "lora_a and lora_b",
        found: tensors.keys.sorted().joined(separator: ", "))
    }
    let shapes = [contents.tensors[a].shape, contents.tensors[b].shape]
    let (first, second) = (shapes[0].dimensions, shapes[1].dimensions)
    var change: LowRank
    if first.count == 2, second.count == 2, first[1] == second[0] {
      let rank = first[1]
      change = LowRank(
        left: .ranks(b, count: second[1]), right: .vectors(a, count: first[0], rank: rank),
        rank: rank, scale: scale)
      // For embeddings, lora_a has the rows of the base tensor: one for each token.
      let isEmbedding = TensorNames.isEmbedding(path)
      if isEmbedding { change = change.transposed }
      guard !isEmbedding || !usesDoRA else {
        throw ModelError(.unsupported, "DoRA of embeddings is not supported")
      }
    } else if first.count == 3, second.count == 3, first[0] == second[0], first[1] == second[2] {
      let rank = first[1]
      var left = Factor.vectors(b, count: second[1], rank: rank)
      var right = Factor.ranks(a, count: first[2])
      left.expertStride = second[1] * rank
      right.expertStride = rank * first[2]
      change = LowRank(
        left: left, right: right, rank: rank, scale: scale, expertCount: first[0])
    } else {
      throw ModelError(
        .mismatch, "the factors do not fit each other", expected: "equal ranks",
        found: "\(shapes[0]) and \(shapes[1])")
    }
    change.magnitude = tensors["m"]
    return change
  }
}
