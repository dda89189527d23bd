package import Bytes
package import TensorModel

extension Architecture {
  /// The architecture with the names of mlx-lm in its tables, if a model has them.
  ///
  /// mlx-lm stacks the experts of a layer, divides some tensors, and renames others.
  ///
  /// - Parameters:
  ///   - tensors: The tensors of the model.
  ///   - config: Its whole config.
  /// - Returns: This architecture, unless a tensor has a name that only mlx-lm knows.
  package func named(asIn tensors: [TensorInfo], _ config: JSONValue) -> Architecture {
    let names = MLXNames.forConfig(config)
    guard !names.keepsTensors else { return self }
    let renamed = renamed(by: names)
    let isMLX = tensors.contains {
      place(ofHuggingFaceName: $0.name) == nil && renamed.place(ofHuggingFaceName: $0.name) != nil
    }
    return isMLX ? renamed : self
  }

  /// A tensor of a layer under its complete name.
  private typealias CompleteName = (huggingFace: String, gguf: [String])

  private func renamed(by names: MLXNames) -> Architecture {
    var result = self
    let experts = expertNames.map {
      CompleteName($0.huggingFace + Self.weight, [$0.gguf + Self.weight])
    }
    result.expertNames = []
    result.stackNames = (experts.isEmpty ? stackNames : experts).flatMap { divided($0, names) }
    result.leadingNames = leadingNames.map { pair($0, names) }
    result.laterNames = laterNames.map { pair($0, names) }
    result.layerNames = layerNames.map { pair($0, names) }
    for (kind, own) in kindNames {
      result.kindNames[kind]?.names = own.names.map { pair($0, names) }
    }
    for index in optionalNames.indices {
      let option = optionalNames[index]
      result.optionalNames[index].names = option.names.map { pair($0, names) }
      result.optionalNames[index].completeNames = option.completeNames.flatMap {
        divided($0, names)
      }
    }
    let complete = completeNames.flatMap { divided($0, names) }
    // A matrix that is no stack may have other names than with its ending `weight`.
    let plain = complete.compactMap { entry -> NamePair? in
      guard !completeNames.contains(where: { $0.huggingFace == entry.huggingFace }),
        !entry.gguf[0].contains("_exps."), entry.huggingFace.hasSuffix(Self.weight)
      else { return nil }
      let count = Self.weight.count
      return (String(entry.huggingFace.dropLast(count)), String(entry.gguf[0].dropLast(count)))
    }
    result.layerNames += plain
    result.completeNames = complete.filter { entry in
      !plain.contains { $0.huggingFace + Self.weight == entry.huggingFace }
    }
    return result
  }

  private static var weight: String { ".weight" }

  /// The names of a tensor of a layer in mlx-lm, without the layer; nil if they are outside of it.
  private func names(of stem: String, _ names: MLXNames) -> [String]? {
    let layer = "\(layerPath)0."
    let outer = "language_model."
    let renamed = names.renamed(layer + stem.replacing("*", with: "0")).names.map {
      $0.hasPrefix(outer) ? String($0.dropFirst(outer.count)) : $0
    }
    guard renamed.allSatisfy({ $0.hasPrefix(layer) }) else { return nil }
    return renamed.map { String($0.dropFirst(layer.count)) }
  }

  private func pair(_ pair: NamePair, _ names: MLXNames) -> NamePair {
    guard let found = self.names(of: pair.huggingFace + Self.weight, names), found.count == 1,
      found[0].hasSuffix(Self.weight)
    else { return pair }
    return (String(found[0].dropLast(Self.weight.count)), pair.gguf)
  }

  /// A tensor under its names in mlx-lm, which has several if the tensor has parts there.
  private func divided(_ entry: CompleteName, _ names: MLXNames) -> [CompleteName] {
    // llama.cpp has gates and those that go up in one stack, or in two.
    let isFused = entry.gguf == ["ffn_gate_up_exps.weight"]
    let parts = isFused ? ["ffn_gate_exps.weight", "ffn_up_exps.weight"] : entry.gguf
    guard let found = self.names(of: entry.huggingFace, names), found.count == parts.count
    else { return [entry] }
    return zip(found, parts).map { ($0, [$1]) }
  }
}
