internal import Bytes
internal import Formats
package import TensorModel

/// A companion file of the output.
package struct CompanionPlan: Sendable {
  /// Its name and length.
  package var companion: Companion
  /// The index of the source's companion that it is made from; nil for a new one.
  package var source: Int?
  /// What it holds, where that is not what the source's holds.
  package var text: [UInt8]?
}

extension CompanionPlan {
  /// The companions of a model, `config.json` and other descriptions as the format needs them.
  ///
  /// Throws `unsupported` when the format needs one that the model lacks.
  static func plans(
    for model: Model, _ tensors: @autoclosure () -> [TensorInfo], _ format: Format
  ) throws(ModelError) -> [CompanionPlan] {
    var plans = model.catalog.companions.indices.map {
      CompanionPlan(companion: model.catalog.companions[$0], source: $0)
    }
    guard
      format == .safetensors || format.needsConfig || model.format.needsConfig
    else { return plans }
    let tensors = tensors()
    plans.removeAll { plan in
      model.format.spelling.documentNames.contains(plan.companion.name)
        || format.spelling.documentNames.contains(plan.companion.name)
    }
    for name in format.spelling.documentNames {
      guard let document = format.spelling.document(name, for: tensors) else { continue }
      let text = Self.text(document)
      plans.append(
        CompanionPlan(
          companion: Companion(name: name, byteCount: text.count), source: nil, text: text))
    }
    let keys = model.format.spelling.configurationKeys
    let old = try model.configuration()
    let stripped = old.flatMap(\.members).map { members in
      JSONValue.object(
        members.filter { !keys.contains($0.key) }.map { Self.retyped($0, for: tensors) })
    }
    let new = try format.spelling.configuration(stripped, for: tensors)
    guard new != old, let new,
      let index = plans.firstIndex(where: { $0.companion.name == "config.json" })
    else { return plans }
    let text = Self.text(new)
    plans[index].text = text
    plans[index].companion.byteCount = text.count
    return plans
  }

  private static func text(_ document: JSONValue) -> [UInt8] {
    Array((JSONWriter.text(document, indentation: 2) + "\n").utf8)
  }

  /// A member of `config.json`: the one that tells the type of all numbers, if they have one, is true.
  ///
  /// Loaders cast what they read to that type.
  private static func retyped(
    _ member: JSONValue.Member, for tensors: [TensorInfo]
  ) -> JSONValue.Member {
    let names: [ScalarType: String] = [.f16: "float16", .bf16: "bfloat16", .f32: "float32"]
    guard ["dtype", "torch_dtype"].contains(member.key), let old = member.value.string,
      names.values.contains(old)
    else { return member }
    let types = Set(
      tensors.compactMap { tensor -> ScalarType? in
        switch tensor.encoding {
        case .plain(let type) where type.isDecodable: type
        case .grouped(let grouping): grouping.parameters
        default: nil
        }
      })
    guard types.count == 1, let type = types.first, let name = names[type] else { return member }
    return JSONValue.Member(member.key, .string(name))
  }
}
