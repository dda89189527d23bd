package import TensorModel

/// Recognizes stored tensors that hold packed weights, by their names, types and shapes.
///
/// The config of a checkpoint may be lost, moved or edited, so it never decides alone that a tensor
/// holds plain numbers. The rules hit all 89 kinds of quantized checkpoints that were collected from
/// the tools that write them, and none of the state dicts of 554 architectures of transformers.
package struct PackedTensors {
  private let stored: [StoredTensor]
  /// The last words of the names in each path.
  private let leaves: [ExactName: Set<String>]

  /// Creates a recognizer for the tensors of a checkpoint; nil if none can be packed, as in most.
  package init?(_ stored: [StoredTensor]) {
    guard Self.areSuspicious(stored) else { return nil }
    self.stored = stored
    var leaves: [ExactName: Set<String>] = [:]
    for tensor in stored {
      let (path, leaf) = Self.split(tensor.name)
      leaves[ExactName(path), default: []].insert(leaf)
    }
    self.leaves = leaves
  }

  /// Whether a type or a last word of a name is one of packed weights.
  private static func areSuspicious(_ stored: [StoredTensor]) -> Bool {
    // Nearly all names end in the same word, which is looked up once.
    var last = ""
    return stored.contains { tensor in
      guard case .plain(let type) = tensor.encoding else { return false }
      if type.isWord || type == .i64 || type.isTinyFloat { return true }
      guard last.isEmpty || !isLeaf(last, of: tensor.name) else { return false }
      last = leaf(tensor.name)
      return isPacked(last) || partners[last] != nil
    }
  }

  /// Whether a word is the last one of a name.
  private static func isLeaf(_ leaf: String, of name: String) -> Bool {
    let name = name.utf8.reversed()
    return name.starts(with: leaf.utf8.reversed())
      && name.dropFirst(leaf.utf8.count).first.map { $0 == UInt8(ascii: ".") } ?? true
  }

  /// Why a tensor cannot be read as numbers; nil if it holds plain numbers.
  ///
  /// - Parameter index: The index of a stored tensor that is no part of a decoded weight.
  /// - Returns: An `unsupported` error with the tensor.
  package func fault(at index: Int) -> ModelError? {
    let tensor = stored[index]
    guard case .plain(let type) = tensor.encoding, isPacked(tensor, type) else {
      return nil
    }
    return ModelError(
      .unsupported, "the tensor holds packed weights that Pleat does not decode",
      tensor: tensor.name, expected: "plain numbers, or a config.json that describes the packing",
      found: "\(tensor.encoding), \(tensor.shape)", hint: Self.hint(tensor, type))
  }

  private func isPacked(_ tensor: StoredTensor, _ type: ScalarType) -> Bool {
    let (path, leaf) = Self.split(tensor.name)
    let beside = leaves[ExactName(path)] ?? []
    if Self.isPacked(leaf) { return true }
    if let partner = Self.partners[leaf],
      beside.contains(partner) || leaves[ExactName("\(path).\(partner)")] != nil
    {
      return true
    }
    if type.isTinyFloat { return tensor.shape.rank > 0 }
    // Weights of 64-bit integers are no weights either.
    if type == .i64 { return tensor.shape.rank >= 2 && leaf == "weight" }
    guard type.isWord, tensor.shape.rank > 0 else { return false }
    // At the place of a weight, or beside scales.
    if tensor.shape.rank >= 2 || leaf == "weight" && type.bitWidth == 8 {
      if leaf.contains("weight") || leaf.hasSuffix("_proj") || leaf == "kernel" { return true }
    }
    guard tensor.shape.rank >= 2 else { return false }
    let ending = ["_blocks", "_packed"].first(where: leaf.hasSuffix) ?? ""
    let stem = String(leaf.dropLast(ending.count))
    return beside.contains { other in
      other != leaf && Self.isScale(other)
        || ["_scale", "_scales", "_scale_inv"].contains { other == stem + $0 }
    }
  }

  /// The path of the layer, and the last word of a name.
  private static func split(_ name: String) -> (path: String, leaf: String) {
    guard let dot = name.utf8.lastIndex(of: UInt8(ascii: ".")) else { return ("", name) }
    return (String(name[..<dot]), leaf(name))
  }

  /// The last word of a name.
  private static func leaf(_ name: String) -> String {
    guard let dot = name.utf8.lastIndex(of: UInt8(ascii: ".")) else { return name }
    return String(name[name.utf8.index(after: dot)...])
  }

  // MARK: - Names

  /// Last words that only tools for quantization write, whatever the type of the tensor.
  private static let words: Set<String> = [
    "qweight", "qzeros", "scaled_zeros", "q_weight", "q_scale", "q_groups", "q_invperm", "dqweight",
    "W_q", "weight_packed", "scale_packed", "absmax", "nested_absmax", "quant_map",
    "nested_quant_map", "SCB", "_data", "embedding_quantized", "weight_scale_inv",
    "weight_scale_2", "weight_global_scale", "trellis", "dense_weights", "s_channel",
    "comfy_quant", "scaled_fp8", "B_24", "B_meta", "encoded_exponent", "sign_mantissa",
  ]

  private static func isPacked(_ leaf: String) -> Bool {
    words.contains(leaf) || leaf.hasPrefix("bitsandbytes__") || leaf.hasPrefix("Qidxs")
      || leaf.hasPrefix("_") && leaf.hasSuffix("_qdata")
  }

  /// Last words that only tools for quantization write together.
  private static let partners = [
    "B": "s", "codes": "codebooks", "indices": "centroids", "compressed": "bitmask",
  ]

  /// Last words of scales and offsets of a tensor that stands beside them.
  ///
  /// Not every name that ends in `_scale`: unquantized models have a `logit_scale`, for example.
  private static func isScale(_ leaf: String) -> Bool {
    var stem = leaf[...]
    for ending in ["_inv", "_2", "_and_zero"] where stem.hasSuffix(ending) {
      stem = stem.dropLast(ending.count)
    }
    for ending in ["scales", "scale"] where stem.hasSuffix(ending) {
      let owner = stem.dropLast(ending.count)
      return scaled.contains(String(owner.hasSuffix("_") ? owner.dropLast() : owner))
    }
    return offsets.contains(leaf) || ["lut", "tables"].contains { leaf.hasPrefix($0) }
  }

  private static let scaled: Set<String> = [
    "", "weight", "w", "q", "channel", "input", "act", "per_channel",
  ]
  private static let offsets: Set<String> = [
    "zeros", "qzeros", "zero", "zero_point", "zero_points", "weight_zero_point", "biases",
    "qbiases", "codebook", "codebooks", "lookup_table", "weights_scaling_factor",
  ]

  /// What the user can do, by the tool that seems to have written the tensor.
  private static func hint(_ tensor: StoredTensor, _ type: ScalarType) -> String {
    let leaf = split(tensor.name).leaf
    let source = "start from the 16-bit model"
    if ["qweight", "qzeros", "weight_packed", "W_q"].contains(leaf) || leaf.hasSuffix("_qdata") {
      return "restore config.json with its quantization_config from where the model came, or "
        + source
    }
    if type.isTinyFloat || leaf.hasPrefix("weight_scale") {
      return "decode it with transformers (dequantize=True in its quantization config), or "
        + source
    }
    if leaf.contains("absmax") || leaf.contains("quant_map") || leaf.hasPrefix("bitsandbytes__") {
      return "decode it with model.dequantize() in transformers, or " + source
    }
    return source + ", or decode it with the tool that quantized it"
  }
}

extension ScalarType {
  /// Whether it is a floating-point type of less than 16 bits, which only quantized models have.
  fileprivate var isTinyFloat: Bool { name.hasPrefix("F") && bitWidth < 16 }

  /// Whether tools pack codes into numbers of this type.
  ///
  /// Indices and masks of unquantized models are 64-bit integers or booleans.
  fileprivate var isWord: Bool {
    switch self {
    case .u8, .i8, .u16, .i16, .u32, .i32: true
    default: false
    }
  }
}
