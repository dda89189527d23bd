internal import Architectures
internal import TensorModel

/// The layers of a model that are not quantized, for configs that have to list them.
enum PlainLayers {
  private static let weight = ".weight"
  private static let headEnding = TensorNames.head + weight

  /// The paths of layers whose weights are matrices of plain numbers, in the order of the tensors.
  ///
  /// Embedding tables are left out. If the model has no head, its path is listed too: the
  /// embeddings are the head then.
  static func paths(_ tensors: [TensorInfo]) -> [String] {
    var paths: [String] = []
    var hasHead = false
    for tensor in tensors where tensor.name.hasSuffix(weight) {
      hasHead = hasHead || isHead(tensor.name)
      guard case .plain(let type) = tensor.encoding, type.isDecodable, tensor.shape.rank == 2,
        case let path = layerPath(of: tensor.name), !TensorNames.isTable(path)
      else { continue }
      paths.append(path)
    }
    return hasHead ? paths : paths + [TensorNames.head]
  }

  /// Whether the last word of the path of a layer is that of an output head.
  private static func isHead(_ name: String) -> Bool {
    guard name.hasSuffix(headEnding) else { return false }
    return name.utf8.count == headEnding.utf8.count || name.hasSuffix("." + headEnding)
  }

  /// The words for the towers that some plain layers belong to, such as `visual`.
  ///
  /// Runtimes rename the modules before such a word and join layers after it, so they find a path
  /// of the checkpoint only by the word. A word that is also part of the path of a quantized layer
  /// is left out.
  static func towers(of plain: [String], quantized: some Sequence<String>) -> [String] {
    var words: [String] = []
    for path in plain {
      guard let word = TensorNames.tower(of: path)?.split(separator: ".").last.map(String.init),
        !words.contains(word)
      else { continue }
      words.append(word)
    }
    return words.filter { word in !quantized.contains { $0.contains(word) } }
  }

  /// A regular expression for the paths that contain a word.
  static func pattern(forWord word: String) -> String { "(.*\\.)?\(word)(\\..*)?$" }

  /// The path of the layer that a tensor belongs to, whose name ends in `.weight`.
  static func layerPath(of name: String) -> String {
    String(Substring(name.utf8.dropLast(weight.utf8.count)))
  }
}
