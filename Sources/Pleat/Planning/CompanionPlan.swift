internal import Bytes
internal import Formats
package import TensorModel
internal import Weights

/// A companion file of the output.
package struct CompanionPlan: Sendable {
  /// The name and the length in bytes.
  package var companion: Companion
  /// The index of the companion in the source; nil for a new file.
  package var source: Int?
  /// The new content; nil if the source's companion is copied unchanged.
  package var text: [UInt8]?
}

extension CompanionPlan {
  /// Creates a new file with a content.
  init(_ name: String, _ content: [UInt8]) {
    self.init(
      companion: Companion(name: name, byteCount: content.count), source: nil, text: content)
  }

  /// Creates a new file with a JSON document.
  init(_ name: String, _ document: JSONValue) {
    self.init(companion: Companion(name: name, byteCount: 0))
    replace(by: document)
  }

  /// The companion files of an output whose tokenizer is decided.
  ///
  /// `config.json` and the files beside it describe the quantization as the format requires, and
  /// whether the embeddings are the head; nil leaves that as it is. Throws `unsupported` if the
  /// format needs a `config.json` and the model has none.
  static func plans(
    for model: Model, _ tokenizer: OutputTokenizer, _ tensors: @autoclosure () -> [TensorInfo],
    _ format: Format, isTied: Bool?
  ) throws(ModelError) -> [CompanionPlan] {
    var plans = tokenizer.companions
    // The config describes packed words that are copied.
    guard model.packedFault == nil else { return plans }
    let isDescribed = format.isCheckpoint || model.format.needsConfig
    // A damaged config that nothing needs is no reason to refuse.
    guard isDescribed || isTied != nil else { return plans }
    let old = try tokenizer.document("config.json")
    let tied = old.map { config in
      isTied.map { EmbeddingTie.stating($0, in: config) } ?? config
    }
    guard isDescribed else {
      plans.rewrite(tied, ifNot: old)
      return plans
    }
    let tensors = tensors()
    let dialects = [model.format.dialect, format.dialect].compactMap { $0 }
    plans.removeAll { plan in
      QuantizationKeys.fileNames.contains(plan.companion.name)
        || dialects.contains { $0.documentNames.contains(plan.companion.name) }
    }
    let description = try format.dialect?.description(of: tensors)
    if let text = description.map(Self.text) {
      for name in format.dialect?.documentNames ?? [] {
        plans.append(
          CompanionPlan(
            companion: Companion(name: name, byteCount: text.count), source: nil, text: text))
      }
    }
    let stripped = tied.map(QuantizationDescription.removed).flatMap(\.members).map { members in
      JSONValue.object(members.map { Self.retyped($0, for: tensors) })
    }
    let new =
      try format.dialect.map { (dialect) throws(ModelError) in
        try dialect.configuration(
          stripped, for: tensors, description: description, of: format.name)
      } ?? stripped
    // Other programs than mlx-lm would multiply once more.
    let isCorrected = format.usesMLXNames ? false : try model.hasAbsorbedFactors()
    plans.rewrite(new, ifNot: isCorrected ? nil : old)
    return plans
  }

  /// Replaces the content by a JSON document.
  mutating func replace(by document: JSONValue) {
    let text = Self.text(document)
    self.text = text
    companion.byteCount = text.count
  }

  private static func text(_ document: JSONValue) -> [UInt8] {
    Array((JSONWriter.text(document, indentation: 2, writingNonFinite: true) + "\n").utf8)
  }

  /// A member of `config.json`, with `dtype` corrected if all tensors store numbers of one type.
  ///
  /// Loaders cast the weights to the type that `dtype` names, also in the config of a part.
  private static func retyped(
    _ member: JSONValue.Member, for tensors: [TensorInfo]
  ) -> JSONValue.Member {
    if let members = member.value.members {
      return JSONValue.Member(member.key, .object(members.map { retyped($0, for: tensors) }))
    }
    let names: [ScalarType: String] = [.f16: "float16", .bf16: "bfloat16", .f32: "float32"]
    guard ["dtype", "torch_dtype"].contains(member.key), let old = member.value.string,
      names.values.contains(old)
    else { return member }
    let types = ScalarType.ofNumbers(in: tensors)
    guard types.count == 1, let type = types.first, let name = names[type] else { return member }
    return JSONValue.Member(member.key, .string(name))
  }
}

extension ScalarType {
  /// The types of the plain numbers, scales and biases of some tensors.
  static func ofNumbers(in tensors: [TensorInfo]) -> Set<ScalarType> {
    Set(
      tensors.compactMap { tensor in
        switch tensor.encoding {
        case .plain(let type) where type.isDecodable: type
        case .grouped(let grouping): grouping.parameters
        default: nil
        }
      })
  }
}

extension [CompanionPlan] {
  /// Gives `config.json` another content; nothing changes if it is nil or the `old` one.
  fileprivate mutating func rewrite(_ config: JSONValue?, ifNot old: JSONValue?) {
    guard let config, config != old,
      let index = firstIndex(where: { $0.companion.name == "config.json" })
    else { return }
    self[index].replace(by: config)
  }
}
