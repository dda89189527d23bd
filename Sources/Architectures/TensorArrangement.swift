package import Bytes
package import TensorModel

/// A tensor of each layer that a runtime stores in another arrangement.
package struct TensorArrangement: Sendable {
  /// The end of its name in a checkpoint, after the number of the layer; the whole name, if it is
  /// outside of layers and keeps it.
  package let name: String
  /// The runtimes that store it so.
  var runtimes: Set<Runtime> = [.llamaCpp]
  /// Whether what llama.cpp stores can be the tensor of a checkpoint too, with another config.
  var comesBackAsIs = false
  /// The tensors that are read from it, under the end of their names; nil if its shape does not fit.
  let views: @Sendable (TensorInfo, ConfigValues) throws(ModelError) -> [TensorView]?
}

extension Architecture {
  /// Whether llama.cpp stores all tensors as the tables name them, and all layers have the same.
  package var isStoredOneByOne: Bool {
    arrangements.isEmpty && returns.isEmpty && variedLayers == nil
  }

  /// Whether mlx-lm stores all tensors as the tables name them.
  package var isArrangedForMLX: Bool {
    arrangements.allSatisfy { $0.runtimes != [.llamaCpp] }
  }

  /// The tensors of a checkpoint as a runtime arranges them; nil if that changes none.
  ///
  /// - Parameters:
  ///   - tensors: The tensors, in the order of the catalog.
  ///   - config: The config of the text model.
  ///   - runtime: The runtime.
  /// - Returns: A view for each tensor that has no other arrangement, and one for each that is read
  ///   from one that has.
  /// - Throws: `malformed` for a shape that does not fit the config, and for values that are missing.
  package func views(
    of tensors: [TensorInfo], _ config: JSONValue, for runtime: Runtime
  ) throws(ModelError) -> [TensorView]? {
    let arrangements = arrangements.filter { $0.runtimes.contains(runtime) }
    guard !arrangements.isEmpty || predictionPrefix != nil else { return nil }
    let values = ConfigValues(config, self)
    let renaming = runtime == .llamaCpp ? try PredictionNames(self, tensors, values) : nil
    var views: [TensorView] = []
    for (index, tensor) in tensors.enumerated() {
      var tensor = tensor
      tensor.name = renaming?.renamed(tensor.name) ?? tensor.name
      guard let arrangement = arrangement(of: tensor.name, among: arrangements) else {
        views.append(TensorView(name: tensor.name, shape: tensor.shape, source: index))
        continue
      }
      guard tensor.shape.elementCount > 0, let found = try arrangement.views(tensor, values) else {
        throw ModelError(
          .malformed, "the tensor has another shape than config.json states", tensor: tensor.name,
          expected: "that of \(arrangement.name) in \(modelTypes[0])",
          found: tensor.shape.description)
      }
      let isInLayer = tensor.name.hasSuffix("." + arrangement.name)
      let path = tensor.name.dropLast(arrangement.name.utf8.count)
      for var view in found {
        view.name = isInLayer ? path + view.name : tensor.name
        view.source = index
        views.append(view)
      }
    }
    let isChanged = zip(views, tensors).contains { $0.name != $1.name }
    return isChanged || views.contains { !$0.rows.isEmpty } ? views : nil
  }

  /// Whether llama.cpp stores a tensor of a checkpoint in another arrangement, by its name there.
  package func isArranged(_ huggingFaceName: String) -> Bool {
    let own = arrangements.filter { $0.runtimes.contains(.llamaCpp) }
    return arrangement(of: huggingFaceName, among: own) != nil
  }

  /// The name that a tensor has in published checkpoints, from its name in the tables.
  ///
  /// Some do not number the layers on that predict several tokens at once; some have another word
  /// before all names but that of the head.
  package func publishedName(of name: String, layerCount: Int) -> String {
    let name =
      predictionPrefix.map { PredictionNames.published(name, $0, layerCount: layerCount) } ?? name
    guard let publishedWord, name.hasPrefix(modelPath) else { return name }
    return publishedWord + "." + name.dropFirst(modelPath.count)
  }

  /// How a tensor of a checkpoint is arranged; nil if the runtime stores it as it is.
  private func arrangement(
    of name: String, among arrangements: [TensorArrangement]
  ) -> TensorArrangement? {
    guard
      let found = arrangements.first(where: {
        name.hasSuffix("." + $0.name) || plainName(name) == $0.name
      })
    else { return nil }
    return plainName(name) == found.name || place(inLayers: name)?.rest == found.name[...]
      ? found : nil
  }
}

/// The names of layers that predict several tokens, if a checkpoint does not number them on.
private struct PredictionNames {
  private let prefix: String
  private let textPrefix: String
  private let layerCount: Int

  /// The names of tensors outside of the layers, and those in the first layer that they become.
  private static let names = [
    "fc": "eh_proj", "pre_fc_norm_embedding": "enorm", "pre_fc_norm_hidden": "hnorm",
    "norm": "shared_head.norm",
  ]

  /// Creates the names for a checkpoint; nil if it has no such layers.
  init?(
    _ architecture: Architecture, _ tensors: [TensorInfo], _ values: ConfigValues
  ) throws(ModelError) {
    guard let prefix = architecture.predictionPrefix,
      tensors.contains(where: { TextPrefix.stripped($0.name).rest.hasPrefix(prefix) })
    else { return nil }
    let table = architecture.modelNames[0].huggingFace + ".weight"
    let embeddings = tensors.first { architecture.plainName($0.name) == table }
    self.prefix = prefix
    textPrefix = embeddings.map { TextPrefix.stripped($0.name).prefix } ?? ""
    layerCount = try values.required("num_hidden_layers")
  }

  /// The name that a tensor of such a layer has in a checkpoint, from that numbered on from others.
  static func published(_ name: String, _ prefix: String, layerCount: Int) -> String {
    let words = name.split(separator: ".", maxSplits: 3)
    guard words.count == 4, words[0] == "model", words[1] == "layers", let layer = Int(words[2]),
      layer >= layerCount
    else { return name }
    for (own, other) in names where words[3].hasPrefix("\(other).") {
      return "\(prefix)\(own).\(words[3].dropFirst(other.utf8.count + 1))"
    }
    return "\(prefix)layers.\(layer - layerCount).\(words[3])"
  }

  /// The name of a tensor of such a layer, numbered on from the others; nil for other tensors.
  func renamed(_ name: String) -> String? {
    let whole = TextPrefix.stripped(name).rest
    guard whole.hasPrefix(prefix) else { return nil }
    let rest = whole.dropFirst(prefix.utf8.count)
    let words = rest.split(separator: ".", maxSplits: 2)
    if words.count == 3, words[0] == "layers", NameParts.isNumber(words[1]),
      let layer = Int(words[1]), layer < 512
    {
      return "\(textPrefix)layers.\(layerCount + layer).\(words[2])"
    }
    guard words.count == 2, let found = Self.names[String(words[0])] else { return nil }
    return "\(textPrefix)layers.\(layerCount).\(found).\(words[1])"
  }
}
