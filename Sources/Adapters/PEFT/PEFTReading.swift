internal import Bytes
internal import TensorModel

/// Interprets the tensors of a PEFT adapter.
struct PEFTReading {
  private let contents: AdapterContents
  private let config: PEFTConfig
  private var modules: [Module] = []
  private var moduleIndices: [String: Int] = [:]
  private var replacements: [(target: String, tensor: Int)] = []
  /// Copies of the base model's tensors, which PEFT does not use.
  private var originals: [(words: [String], tensor: Int)] = []
  /// The rows of tables that were trained, by the path of the table.
  private var tokens: [(path: String, tensor: Int)] = []
  private var adapterNames: Set<String> = []
  private var emptyTensors: [String] = []
  private var problems = Problems()

  /// The tensors of one adapted layer or parameter.
  private struct Module {
    var path: String
    /// How many adapted parameters of the same layer PEFT has wrapped around this one.
    var depth: Int
    var tensors: [String: Int] = [:]
  }

  /// Throws `malformed` for an invalid config, `unsupported` for another method than LoRA.
  init(_ contents: AdapterContents) throws(ModelError) {
    self.contents = contents
    config = try PEFTConfig(contents.config)
    for (index, tensor) in contents.tensors.enumerated() { add(index, tensor.name) }
  }

  private static let roles: Set<String> = [
    "lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector",
  ]
  private static let tokenRows = ["token_adapter", "trainable_tokens_delta"]

  private mutating func add(_ index: Int, _ name: String) {
    let words = NameMatching.unwrapped(
      name.split(separator: ".", omittingEmptySubsequences: false).map(String.init))
    if contents.tensors[index].shape.elementCount == 0 { emptyTensors.append(name) }
    if let delta = words.firstIndex(of: Self.tokenRows[1]) {
      let path = words[..<delta].filter { $0 != Self.tokenRows[0] }
      return tokens.append((path.joined(separator: "."), index))
    }
    guard let role = words.firstIndex(where: Self.roles.contains) else {
      guard !words.contains(where: { $0.hasPrefix("lora_") || $0.hasSuffix("_delta") }) else {
        return problems.add("the tensor '\(name)'")
      }
      return addReplacement(index, words)
    }
    var rest = Array(words[(role + 1)...])
    // PEFT puts the name of the adapter after the role, unless it saves the adapter alone.
    if let first = rest.first, !["weight", "bias"].contains(first) {
      adapterNames.insert(first)
      rest.removeFirst()
    }
    guard rest.isEmpty || rest == ["weight"] || rest == ["bias"] && words[role] == "lora_B" else {
      return problems.add("the tensor '\(name)'")
    }
    let depth = words[..<role].count { $0 == "base_layer" }
    let path = words[..<role].filter { $0 != "base_layer" }.joined(separator: ".")
    let key = "\(depth) \(path)"
    if moduleIndices[key] == nil {
      moduleIndices[key] = modules.count
      modules.append(Module(path: path, depth: depth))
    }
    let part = words[role] + (rest == ["bias"] ? ".bias" : "")
    if let other = modules[moduleIndices[key] ?? 0].tensors.updateValue(index, forKey: part) {
      problems.add("'\(contents.tensors[other].name)' and '\(name)', which mean the same factor")
    }
  }

  /// Adds a whole tensor; `words` are those of its name.
  private mutating func addReplacement(_ index: Int, _ words: [String]) {
    if words.contains("original_module") {
      return originals.append((words.filter { $0 != "original_module" }, index))
    }
    // PEFT saves the whole table beside its factors or rows if tokens were added.
    var words = words.filter { $0 != "base_layer" && $0 != Self.tokenRows[0] }
    if let wrapper = words.firstIndex(of: "modules_to_save") {
      words.remove(at: wrapper)
      // The name of the adapter may follow, as in `lm_head.modules_to_save.default.weight`.
      if words.count > wrapper + 1 { adapterNames.insert(words.remove(at: wrapper)) }
    }
    replacements.append((words.joined(separator: "."), index))
  }

  /// Returns the adapter.
  ///
  /// Throws `mismatch` and `malformed`, and one `unsupported` for everything that is unsupported.
  func adapter() throws(ModelError) -> Adapter {
    try checkTensors()
    var problems = problems
    config.check(&problems)
    try problems.check()
    var adapter = Adapter(contents, .peft)
    adapter.tiesEmbeddings = config.tiesEmbeddings
    if config.groupSize != nil { adapter.pooling = adapter.pooling ?? .peft }
    for module in modules { adapter.changes += try changes(of: module) }
    adapter.changes += replacements.map {
      AdapterChange($0.target, .replacement(tensor: $0.tensor))
    }
    for (path, tensor) in tokens {
      guard let indices = config.tokenIndices(of: path) else {
        throw ModelError(
          .malformed, "adapter_config.json does not say which rows the adapter replaces",
          tensor: contents.tensors[tensor].name, expected: "trainable_token_indices")
      }
      adapter.changes.append(
        AdapterChange(path + ".weight", .rows(tensor: tensor, indices: indices)))
    }
    let saved = replacements.map(\.target)
    for (key, paths) in [("target_modules", modules.map(\.path)), ("modules_to_save", saved)] {
      let missing = config.names(key, without: paths)
      if !missing.isEmpty {
        adapter.notes.append(
          "\(contents.path) has no tensors for these \(key): " + missing.joined(separator: ", "))
      }
    }
    return adapter
  }

  /// Throws `malformed` for an adapter that was not saved completely, and `unsupported` for a file
  /// that holds several.
  private func checkTensors() throws(ModelError) {
    if let name = emptyTensors.first {
      throw ModelError(
        .malformed, "the adapter was saved without its numbers", tensor: name,
        expected: "a matrix", found: "\(emptyTensors.count) empty tensors",
        hint: "DeepSpeed ZeRO-3 leaves them empty: save with "
          + "stage3_gather_16bit_weights_on_model_save, or run zero_to_fp32.py on the checkpoint")
    }
    guard !tokens.isEmpty || !config.hasTrainedTokens else {
      throw ModelError(
        .malformed, "the adapter has no tensor for its trainable_token_indices",
        expected: Self.tokenRows.joined(separator: "."),
        hint: "save it again with model.save_pretrained(path)")
    }
    guard adapterNames.count <= 1 else {
      throw ModelError(
        .unsupported, "the file holds several adapters", expected: "one",
        found: adapterNames.sorted().joined(separator: ", "),
        hint: "save them one by one: model.save_pretrained(path, selected_adapters=[name])")
    }
    let targets = Set(replacements.map(\.target))
    for (words, tensor) in originals where !targets.contains(words.joined(separator: ".")) {
      throw ModelError(
        .malformed, "the adapter holds a copy of the base model's tensor, but not the trained one",
        tensor: contents.tensors[tensor].name,
        expected: "\(words.dropLast().joined(separator: ".")).modules_to_save.weight")
    }
  }

  private func changes(of module: Module) throws(ModelError) -> [AdapterChange] {
    do throws(ModelError) {
      if let a = module.tensors["lora_embedding_A"] {
        try checkRoles(module, ["lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector"])
        return [try embedding(module, a, try partner(module, "lora_embedding_B"))]
      }
      if module.tensors["lora_embedding_B"] != nil {
        _ = try partner(module, "lora_embedding_A")
      }
      let (a, b) = (try partner(module, "lora_A"), try partner(module, "lora_B"))
      let parameters = parameters(of: module)
      try checkRoles(
        module,
        ["lora_A", "lora_B"]
          + (parameters.isEmpty ? ["lora_B.bias", "lora_magnitude_vector"] : []))
      if !parameters.isEmpty { return [try stacked(a, b, parameters)] }
      return try linear(module, a, b)
    } catch {
      throw error.located(tensor: module.path)
    }
  }

  private func checkRoles(_ module: Module, _ roles: [String]) throws(ModelError) {
    let rest = module.tensors.keys.filter { !roles.contains($0) }.sorted()
    guard !rest.isEmpty else { return }
    throw ModelError(
      .malformed, "a layer of the adapter has unexpected tensors",
      expected: roles.joined(separator: ", "), found: rest.joined(separator: ", "))
  }

  private func partner(_ module: Module, _ role: String) throws(ModelError) -> Int {
    if let index = module.tensors[role] { return index }
    throw ModelError(
      .malformed, "a factor of the adapter is missing", expected: "\(module.path).\(role)",
      found: module.tensors.keys.sorted().joined(separator: ", "))
  }

  /// The two dimensions of a factor, one of which is the rank.
  private func extents(_ tensor: Int) throws(ModelError) -> (Int, Int) {
    let dimensions = contents.tensors[tensor].shape.dimensions
    guard dimensions.count == 2 else {
      throw ModelError(
        .unsupported, "a factor of the adapter is not a matrix",
        tensor: contents.tensors[tensor].name, expected: "two dimensions",
        found: contents.tensors[tensor].shape.description,
        hint: dimensions.count == 4
          ? "adapters of convolutions are not supported"
          : dimensions.count == 1
            ? "FSDP and DeepSpeed flatten matrices: save the adapter with full parameters" : nil)
    }
    return (dimensions[0], dimensions[1])
  }

  private func checkRank(
    _ path: String, a: Int, b: Int, tensors: [Int]
  ) throws(ModelError) {
    guard a == b else {
      let shapes = tensors.map { contents.tensors[$0].shape.description }
      throw ModelError(
        .mismatch, "the factors do not fit each other", expected: "equal ranks",
        found: shapes.joined(separator: " and "))
    }
    let rank = try config.rank(of: path)
    guard a == rank else {
      throw ModelError(
        .mismatch, "the rank differs from adapter_config.json", expected: "\(rank)",
        found: "\(a)")
    }
  }

  private func linear(_ module: Module, _ a: Int, _ b: Int) throws(ModelError) -> [AdapterChange] {
    let (rank, width) = try extents(a)
    let (height, other) = try extents(b)
    try checkRank(module.path, a: rank, b: other, tensors: [a, b])
    let scale = try config.scale(of: module.path)
    var change = LowRank(
      left: .vectors(b, count: height, rank: rank), right: .ranks(a, count: width), rank: rank,
      scale: scale)
    change.groupSize = config.groupSize
    change.orientation = config.isTransposed ? .transposedFirst : .straight
    change.magnitude = try magnitude(module)
    var changes = [AdapterChange(module.path + ".weight", .lowRank(change))]
    if let bias = module.tensors["lora_B.bias"] {
      changes.append(
        AdapterChange(module.path + ".bias", .vector(tensor: bias, scale: scale)))
    }
    return changes
  }

  private func embedding(_ module: Module, _ a: Int, _ b: Int) throws(ModelError) -> AdapterChange {
    let (rank, height) = try extents(a)
    let (width, other) = try extents(b)
    try checkRank(module.path, a: rank, b: other, tensors: [a, b])
    var change = LowRank(
      left: .ranks(a, count: height), right: .vectors(b, count: width, rank: rank), rank: rank,
      scale: try config.scale(of: module.path))
    guard try magnitude(module) == nil else {
      throw ModelError(.unsupported, "DoRA of embeddings is not supported")
    }
    change.groupSize = nil
    return AdapterChange(module.path + ".weight", .lowRank(change))
  }

  /// The parameters in `target_parameters` that belong to the module, in PEFT's order.
  ///
  /// A name without a module means the parameters of this name of all modules. Those in
  /// `target_modules` have none.
  private func parameters(of module: Module) -> [String] {
    config.parameters.compactMap { parameter in
      let words = parameter.split(separator: ".")
      guard let name = words.last else { return nil }
      let owner = words.dropLast().joined(separator: ".")
      guard
        owner.isEmpty
          ? !config.isTarget(module.path)
          : module.path == owner || module.path.hasSuffix("." + owner)
      else { return nil }
      return "\(module.path).\(name)"
    }
  }

  // A is [experts · rank, inputs], in the order of experts. B is [outputs, rank · experts], in the
  // order of ranks. The name of a parameter decides its rank and alpha.
  private func stacked(
    _ a: Int, _ b: Int, _ parameters: [String]
  ) throws(ModelError) -> AdapterChange {
    let (ranks, width) = try extents(a)
    let (height, others) = try extents(b)
    var candidates: [AdapterChange.Candidate] = []
    for parameter in parameters {
      let rank = try config.rank(of: parameter)
      guard ranks == others, rank <= ranks, ranks % rank == 0 else { continue }
      let experts = ranks / rank
      var left = Factor.vectors(b, count: height, rank: ranks)
      var right = Factor.ranks(a, count: width)
      (left.rankStride, left.expertStride) = (experts, 1)
      right.expertStride = rank * width
      var change = LowRank(
        left: left, right: right, rank: rank, scale: try config.scale(of: parameter),
        expertCount: experts)
      change.orientation = .either(config.squareStacks)
      candidates.append(.init(target: parameter, operation: .lowRank(change)))
    }
    guard candidates.isEmpty else { return AdapterChange(candidates) }
    throw ModelError(
      .mismatch, "the factors do not fit the rank in adapter_config.json",
      expected: "a multiple of \(try config.rank(of: parameters[0]))",
      found: "\(ranks) and \(others)")
  }

  private func magnitude(_ module: Module) throws(ModelError) -> Int? {
    let tensor = module.tensors["lora_magnitude_vector"]
    guard (tensor != nil) == config.usesDoRA else {
      throw ModelError(
        tensor == nil ? .malformed : .mismatch,
        tensor == nil
          ? "the DoRA magnitudes are missing" : "the adapter has unexpected DoRA magnitudes",
        expected: "use_dora \(tensor != nil)", found: "use_dora \(config.usesDoRA)")
    }
    return tensor
  }
}
