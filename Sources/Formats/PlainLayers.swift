internal import Bytes
internal import TensorModel

/// The layers of a model whose weights stay plain, for configs that have to list them.
enum PlainLayers {
  private static let weight = ".weight"
  private static let head = "lm_head"

  /// Names that tables go by, which are no linear layers.
  private static let tables: Set<String> = [
    "embed_tokens", "wte", "wpe", "word_embeddings", "tok_embeddings", "embed_positions",
    "position_embeddings", "token_type_embeddings", "pos_embed",
  ]

  /// The paths of layers whose weights are matrices of plain numbers, in the order of the tensors.
  ///
  /// The head is among them when it is not there at all: then it is the table of embeddings.
  static func paths(_ tensors: [TensorInfo]) -> [String] {
    var paths: [String] = []
    var hasHead = false
    for tensor in tensors where tensor.name.hasSuffix(weight) {
      let path = path(of: tensor.name)
      hasHead = hasHead || lastWord(path) == head
      guard case .plain(let type) = tensor.encoding, type.isDecodable, tensor.shape.rank == 2,
        !isTable(path)
      else { continue }
      paths.append(path)
    }
    return hasHead ? paths : paths + [head]
  }

  /// Whether a layer is a table rather than a matrix that inputs are multiplied with.
  static func isTable(_ path: String) -> Bool { tables.contains(lastWord(path)) }

  /// The layer of a tensor called weight.
  static func path(of name: String) -> String { String(name.dropLast(weight.count)) }

  private static func lastWord(_ path: String) -> String {
    path.split(separator: ".").last.map(String.init) ?? path
  }
}
