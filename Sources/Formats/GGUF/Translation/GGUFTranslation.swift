package import Bytes
package import TensorModel

/// How a checkpoint of Hugging Face becomes a model of llama.cpp: names, the order of rows, numbers
/// that llama.cpp wants otherwise, and metadata.
package struct GGUFTranslation: Sendable {
  /// What becomes of a tensor.
  package struct Tensor: Sendable, Hashable {
    /// What llama.cpp calls it, or what it is a part of.
    package var name: String
    /// How llama.cpp orders its rows, or the numbers of a bias; nil for as they are.
    package var rowOrder: RotaryRowOrder?
    /// Whether 1 is added to each number.
    package var addsOne = false
    /// Whether llama.cpp wants it in F32, whatever the type of the others.
    package var isFloat32 = false
    /// Which of the matrices of a stack it is; nil for a tensor of its own.
    package var stack: Stack?
  }

  /// A place in a tensor of several matrices.
  package struct Stack: Sendable, Hashable {
    /// The number of the matrix.
    package var index: Int
    /// The number of matrices.
    package var count: Int
  }

  /// A tensor that the checkpoint has no equal of.
  package struct Addition: Sendable {
    /// What is written.
    package var stored: StoredTensor
    /// Its numbers.
    package var bytes: [UInt8]
  }

  /// What llama.cpp reads beside tensors.
  package let metadata: Metadata
  /// For each tensor of the checkpoint what becomes of it; nil where it is left out.
  package private(set) var tensors: [Tensor?] = []
  /// What is written beside them.
  package private(set) var additions: [Addition] = []
  /// What a user should know.
  package private(set) var notes: [String] = []

  /// The translation of a checkpoint.
  ///
  /// - Parameters:
  ///   - tensors: The tensors of the checkpoint.
  ///   - config: Its `config.json`.
  ///   - generation: Its `generation_config.json`; nil when it has none.
  ///   - name: What to call the model.
  ///   - tokenizer: The tokenizer for an architecture and so many embeddings; nil for none.
  /// - Throws: `unsupported` for an architecture or a tensor that Pleat does not know, `malformed`
  ///   for a config that does not say enough, or tensors that are missing.
  package init(
    _ tensors: [TensorInfo], config: JSONValue, generation: JSONValue?, name: String,
    tokenizer: (Architecture, Int) throws(ModelError) -> GGUFTokenizer?
  ) throws(ModelError) {
    let architecture = try Self.architecture(of: config)
    let config = config["text_config"].map { Self.merged(config, $0) } ?? config
    let embedding = architecture.modelNames[0].huggingFace + ".weight"
    guard let table = tensors.first(where: { architecture.plainName($0.name) == embedding }) else {
      throw ModelError(.malformed, "the model has no token embeddings", expected: embedding)
    }
    let tokenCount = table.shape.rowCount
    var parameters = try Hyperparameters(
      Self.merged(architecture.defaults, config), architecture, tokenCount: tokenCount)
    try architecture.write(&parameters)
    var metadata = Metadata()
    metadata.append("general.architecture", .text(architecture.ggufName))
    metadata.append("general.type", .text("model"))
    metadata.append("general.name", .text(name))
    let sampling = generation.map(SamplingDefaults.metadata) ?? Metadata()
    let vocabulary = try tokenizer(architecture, tokenCount)
    notes = vocabulary?.notes ?? []
    let entries = sampling.entries + parameters.metadata.entries
    for entry in entries + (vocabulary?.metadata.entries ?? []) {
      metadata.append(entry.key, entry.value)
    }
    GGUFFileType.addVersion(to: &metadata)
    self.metadata = metadata
    try translate(tensors, architecture, parameters)
    try addFactors(parameters)
    try check(tensors, architecture, parameters)
  }

  private static func architecture(of config: JSONValue) throws(ModelError) -> Architecture {
    let type = config["model_type"]?.string
    if let architecture = type.flatMap(Architectures.forModelType) { return architecture }
    throw ModelError(
      .unsupported, "not an architecture that Pleat translates for llama.cpp",
      expected: Architectures.all.flatMap(\.modelTypes).joined(separator: ", "),
      found: type.map { "model_type \($0)" } ?? "no model_type in config.json",
      hint: "make an F16 GGUF with llama.cpp's convert_hf_to_gguf; Pleat quantizes and folds that")
  }

  /// A config, such as that of a text model within another, on top of what another says.
  private static func merged(_ config: JSONValue, _ text: JSONValue) -> JSONValue {
    let own = text.members ?? []
    let keys = Set(own.map { ExactName($0.key) })
    let others = (config.members ?? []).filter { !keys.contains(ExactName($0.key)) }
    return .object(own + others)
  }

  // MARK: - Tensors

  private mutating func translate(
    _ tensors: [TensorInfo], _ architecture: Architecture, _ parameters: Hyperparameters
  ) throws(ModelError) {
    var unknown: [String] = []
    var pictures = 0
    for tensor in tensors {
      if Self.isOfPictures(tensor.name) {
        pictures += 1
        self.tensors.append(nil)
      } else if Self.isNeedless(tensor.name, architecture) {
        self.tensors.append(nil)
      } else if let translated = try Self.translated(tensor, architecture, parameters) {
        self.tensors.append(translated)
      } else {
        unknown.append(tensor.name)
      }
    }
    if pictures > 0 {
      notes.append("the part of the model that sees pictures is left out: \(pictures) tensors")
    }
    guard let first = unknown.first else { return }
    throw ModelError(
      .unsupported, "llama.cpp's \(architecture.ggufName) has no such tensor", tensor: first,
      expected: "names as in \(architecture.modelTypes[0]) models",
      found: unknown.count > 1 ? "\(first) and \(unknown.count - 1) more" : first)
  }

  private static func translated(
    _ tensor: TensorInfo, _ architecture: Architecture, _ parameters: Hyperparameters
  ) throws(ModelError) -> Tensor? {
    if let (name, index) = architecture.expert(ofHuggingFaceName: tensor.name) {
      let count = try parameters.required("num_local_experts")
      guard index < count else {
        throw ModelError(
          .malformed, "there are more experts than config.json says", tensor: tensor.name,
          expected: "\(count)", found: "expert \(index)")
      }
      return Tensor(name: name, stack: Stack(index: index, count: count))
    }
    guard let name = architecture.ggufName(of: tensor.name) else { return nil }
    var result = Tensor(name: name)
    let heads = try parameters.required("num_attention_heads")
    result.rowOrder = try architecture.rowOrder(
      ofHuggingFaceName: tensor.name, headCount: heads,
      keyValueHeadCount: try parameters.count("num_key_value_heads") ?? heads,
      headSize: try parameters.headSize())
    let rows = tensor.shape.rank == 1 ? tensor.shape.elementCount : tensor.shape.rowCount
    if let order = result.rowOrder, order.rowCount != rows {
      throw ModelError(
        .malformed, "the tensor does not have the heads of config.json", tensor: tensor.name,
        expected: "\(order.headCount) heads of \(order.headSize) rows", found: "\(rows) rows")
    }
    let isNorm = name.hasSuffix("norm.weight")
    result.addsOne = architecture.addsOneToNorms && isNorm
    result.isFloat32 = tensor.shape.rank == 1 || isNorm || name.hasSuffix("ffn_gate_inp.weight")
    return result
  }

  /// Whether a tensor is of the part of a larger model that llama.cpp keeps in another file.
  private static func isOfPictures(_ name: String) -> Bool {
    let words = name.split(separator: ".")
    return words.contains { $0 == "vision_tower" || $0 == "multi_modal_projector" }
  }

  /// Whether llama.cpp computes a tensor itself, or takes the embeddings for it.
  private static func isNeedless(_ name: String, _ architecture: Architecture) -> Bool {
    if name.hasSuffix(".rotary_emb.inv_freq") { return true }
    return architecture.leavesOutHead && name == CommonNames.head[0].huggingFace + ".weight"
  }

  /// Throws `malformed` when two tensors become one, or when there are too few.
  private func check(
    _ tensors: [TensorInfo], _ architecture: Architecture, _ parameters: Hyperparameters
  ) throws(ModelError) {
    var seen: Set<Tensor> = []
    for (tensor, translated) in zip(tensors, self.tensors) {
      guard let translated else { continue }
      guard seen.insert(Tensor(name: translated.name, stack: translated.stack)).inserted else {
        throw ModelError(
          .malformed, "two tensors become one in llama.cpp", tensor: tensor.name,
          found: translated.name)
      }
    }
    let present = Set(tensors.map { ExactName(architecture.plainName($0.name)) })
    let layerCount = try parameters.required("num_hidden_layers")
    let expertCount =
      architecture.expertNames.isEmpty ? 0 : try parameters.required("num_local_experts")
    // Each has a tensor at least, and a list of what is missing could be endless.
    guard max(1, expertCount) <= tensors.count / layerCount else {
      throw ModelError(
        .malformed, "the model lacks tensors that config.json promises",
        expected: expertCount > 0
          ? "\(layerCount) layers of \(expertCount) experts" : "\(layerCount) layers",
        found: "\(tensors.count) tensors")
    }
    let required = architecture.requiredNames(layerCount: layerCount, expertCount: expertCount)
    let missing = required.filter { !present.contains(ExactName($0)) }
    guard let first = missing.first else { return }
    throw ModelError(
      .malformed, "the model lacks a tensor that config.json promises", tensor: first,
      expected: "\(required.count) weights", found: "\(missing.count) are missing")
  }

  // MARK: - Additions

  /// Adds what angles of rotary embeddings are divided by, where it depends on the place in the head.
  private mutating func addFactors(_ parameters: Hyperparameters) throws(ModelError) {
    if let factors = try parameters.rope.llama3Factors(headSize: try parameters.headSize()) {
      try add("rope_freqs.weight", factors)
    }
    let rotated = try parameters.rope.rotatedCount(headSize: try parameters.headSize())
    if let factors = try parameters.rope.longFactors(pairCount: rotated / 2) {
      try add("rope_factors_long.weight", factors.long)
      try add("rope_factors_short.weight", factors.short)
    }
  }

  private mutating func add(_ name: String, _ factors: [Float]) throws(ModelError) {
    guard let shape = Shape(validating: [factors.count]),
      let stored = StoredTensor(plain: name, shape, .f32)
    else { throw ModelError(.malformed, "too many factors of rotary embeddings", tensor: name) }
    var bytes: [UInt8] = []
    for factor in factors { bytes.append(littleEndian: factor.bitPattern) }
    additions.append(Addition(stored: stored, bytes: bytes))
  }
}
