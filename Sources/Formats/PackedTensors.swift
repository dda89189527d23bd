package import TensorModel

/// Recognizes stored tensors that hold packed weights, by their names, types and shapes.
///
/// The config of a checkpoint may be lost, moved or edited, so it never decides alone that a tensor
/// holds plain numbers.
package struct PackedTensors {
  private let stored: [StoredTensor]
  private let names: StoredNames
  private let scaledPaths: Set<ExactName>

  /// Creates a recognizer for the tensors of a checkpoint.
  package init(_ stored: [StoredTensor]) {
    self.stored = stored
    names = StoredNames(stored)
    scaledPaths = Set(
      stored.compactMap { tensor in
        let (path, leaf) = Self.split(tensor.name)
        guard Self.isScale(leaf) else { return nil }
        // The parts of `experts.down_proj_blocks` have a common beginning instead of a common path.
        let stem = leaf.split(separator: "_").dropLast().joined(separator: "_")
        return ExactName(leaf.contains("_") ? "\(path).\(stem)" : path)
      })
  }

  /// Why a tensor cannot be read as numbers; nil if it holds plain numbers.
  ///
  /// - Parameter index: The index of a stored tensor that is no part of a decoded weight.
  /// - Returns: An `unsupported` error with the tensor.
  package func fault(at index: Int) -> ModelError? {
    let tensor = stored[index]
    guard let what = kind(of: tensor) else { return nil }
    return ModelError(
      .unsupported, "the tensor holds packed weights that Pleat does not decode",
      tensor: tensor.name, found: "\(what): \(tensor.encoding), \(tensor.shape)",
      hint: "start from the 16-bit model, or decode it with the tool that quantized it")
  }

  private func kind(of tensor: StoredTensor) -> String? {
    guard case .plain(let type) = tensor.encoding else { return nil }
    let (path, leaf) = Self.split(tensor.name)
    if let tool = Self.tools[leaf] { return tool }
    if tensor.name.contains(".quant_state.bitsandbytes__") { return "bitsandbytes" }
    if type.isBelow16BitFloat, tensor.shape.elementCount > 1 { return "\(type.name) numbers" }
    guard type.isWord, tensor.shape.rank >= 2 else { return nil }
    if Self.isWeight(leaf) { return "words in place of a weight" }
    let stem = leaf.split(separator: "_").dropLast().joined(separator: "_")
    guard
      scaledPaths.contains(ExactName(path)) || scaledPaths.contains(ExactName("\(path).\(leaf)"))
        || scaledPaths.contains(ExactName("\(path).\(stem)"))
    else { return nil }
    return "words beside scales"
  }

  /// The path of the layer, and the last word of a name.
  private static func split(_ name: String) -> (path: String, leaf: String) {
    guard let dot = name.lastIndex(of: ".") else { return ("", name) }
    return (String(name[..<dot]), String(name[name.index(after: dot)...]))
  }

  private static func isWeight(_ leaf: String) -> Bool {
    leaf == "weight" || leaf.hasPrefix("weight_") || leaf.hasSuffix("_weight")
      || leaf.hasSuffix("_proj")
  }

  private static func isScale(_ leaf: String) -> Bool {
    let endings = ["scale", "scales", "scale_inv", "zeros", "zero_point", "biases", "absmax"]
    return endings.contains { leaf == $0 || leaf.hasSuffix("_" + $0) }
  }

  /// Names that only one tool gives to tensors, whatever their type; with the tool.
  private static let tools: [String: String] = {
    let words = [
      "GPTQ or AWQ": ["qweight", "qzeros", "dqweight"],
      "EXL2": [
        "q_weight", "q_scale", "q_scale_max", "q_groups", "q_group_map", "q_invperm", "q_perm",
      ],
      "EXL3": ["trellis", "suh", "svh"],
      "HQQ": ["W_q"],
      "compressed-tensors": ["weight_packed", "weight_shape", "weight_global_scale"],
      "bitsandbytes": [
        "absmax", "quant_map", "nested_absmax", "nested_quant_map", "SCB", "weight_format",
      ],
      "torchao": ["packed_weight"],
      "QuIP#": ["Qidxs", "Qidxs_0"],
      "FP8": ["weight_scale_inv", "scale_weight", "scaled_fp8"],
      "modelopt": ["weight_scale_2", "weights_scaling_factor"],
      "Marlin": ["s_channel", "s_group"],
      "Nunchaku": ["wscales"],
    ]
    return words.reduce(into: [:]) { tools, entry in
      for word in entry.value { tools[word] = entry.key }
    }
  }()
}

extension ScalarType {
  /// Whether it is a floating-point type of less than 16 bits, which only quantized models have.
  fileprivate var isBelow16BitFloat: Bool { name.hasPrefix("F") && bitWidth < 16 }

  /// Whether tools pack codes into numbers of this type.
  ///
  /// Indices and masks of unquantized models are 64-bit integers or booleans.
  fileprivate var isWord: Bool {
    switch self {
    case .u8, .i8, .u16, .i16, .u32, .i32: true
    default: isBelow16BitFloat
    }
  }
}
