internal import Bytes
internal import Formats
internal import Quantization
internal import SystemPackage
internal import TensorModel

extension Model {
  /// How the model becomes one of llama.cpp; nil where it is one, or is to be another.
  ///
  /// Throws `unsupported` and `malformed` for a model that cannot, and what reading its tokenizer
  /// throws.
  func translation(for destination: Destination) throws(ModelError) -> GGUFTranslation? {
    guard needsTranslation(to: destination.format) else {
      if destination.preTokenizer != nil || destination.tokenizerDonor != nil {
        throw ModelError(
          .usage, "only a checkpoint that becomes gguf needs a tokenizer",
          found: "\(format.name) to \(destination.format.name)",
          hint: "leave --tokenizer-pre and --tokenizer-from out")
      }
      return nil
    }
    return try translation { (architecture, tokenCount) throws(ModelError) in
      try tokenizer(destination, architecture, tokenCount)
    }
  }

  /// How the model becomes one of llama.cpp, with a tokenizer or without.
  ///
  /// Throws what `translation(for:)` throws.
  func translation(
    _ tokenizer: (Architecture, Int) throws(ModelError) -> GGUFTokenizer? = { (_, _) in nil }
  ) throws(ModelError) -> GGUFTranslation {
    guard let config = try configuration() else {
      throw ModelError(
        .unsupported, "gguf needs a config.json, which the model lacks", file: path,
        expected: "a Hugging Face checkpoint, or a file made from one")
    }
    do throws(ModelError) {
      return try GGUFTranslation(
        catalog.tensors, config: config, generation: try document(named: "generation_config.json"),
        name: displayName, tokenizer: tokenizer)
    } catch {
      throw error.located(file: path)
    }
  }

  /// Whether a format is llama.cpp's, and the names are not.
  func needsTranslation(to format: Format) -> Bool {
    format == .gguf && catalog.metadata["general.architecture"] == nil
  }

  /// What to call the model: its file or folder.
  private var displayName: String {
    let name = FilePath(path).lexicallyNormalized().stem ?? "model"
    return name == "." ? "model" : name
  }

  private func tokenizer(
    _ destination: Destination, _ architecture: Architecture, _ tokenCount: Int
  ) throws(ModelError) -> GGUFTokenizer {
    if let donor = destination.tokenizerDonor {
      guard destination.preTokenizer == nil else {
        throw ModelError(
          .usage, "a tokenizer that is taken from a model brings how it splits text",
          found: "--tokenizer-pre and --tokenizer-from", hint: "leave one of them out")
      }
      return try GGUFTokenizer(
        donor: donor.catalog.metadata, path: donor.path, tokenCount: tokenCount)
    }
    return try GGUFTokenizer(
      { (name) throws(ModelError) in try companion(named: name) },
      config: try configuration() ?? .null, tokenCount: tokenCount, architecture: architecture,
      pre: destination.preTokenizer)
  }
}

extension TensorPlan {
  /// The plan for the tensor under llama.cpp's name, as llama.cpp wants its numbers.
  ///
  /// - Parameter translation: What becomes of the tensor; nil where it is left out.
  /// - Returns: The plan.
  /// - Throws: `unsupported` for what would have to be both changed and translated.
  func translated(_ translation: GGUFTranslation.Tensor?) throws(ModelError) -> TensorPlan {
    var plan = self
    guard let translation else {
      plan.action = .omit
      plan.reason = "llama.cpp has no place for it"
      return plan
    }
    plan.placement = translation
    if translation.isFloat32 {
      switch action {
      case .copy where source.encoding == .plain(.f32) && !translation.addsOne: break
      case .copy, .decode: plan.action = .decode(.f32)
      case .merge: plan.action = .merge(.f32)
      case .replace: plan.action = .replace(.f32)
      case .quantize, .respell, .shift, .omit: break
      }
      if case .grouped = plan.target.encoding {} else { plan.target.encoding = .plain(.f32) }
      guard source.isGrouped || RowDecoder(source.encoding) != nil else {
        throw ModelError(
          .unsupported, "llama.cpp wants the tensor in F32", tensor: source.name,
          found: source.encoding.description)
      }
    } else if case .plain(.f64) = plan.target.encoding {
      plan.action = .decode(.f32)
      plan.target.encoding = .plain(.f32)
    }
    if translation.addsOne, !changes.isEmpty {
      throw ModelError(
        .unsupported, "an adapter changes a norm, to which llama.cpp adds 1", tensor: source.name,
        hint: "fold into a safetensors folder first, and convert that")
    }
    plan.target.name = translation.name
    return plan
  }

  /// The tensor that is stored: a stack, where the target is a matrix of one.
  var storedTarget: TensorInfo {
    guard let stack = placement?.stack,
      let shape = Shape(validating: [stack.count] + target.shape.dimensions)
    else { return target }
    return TensorInfo(name: target.name, shape: shape, encoding: target.encoding)
  }
}
