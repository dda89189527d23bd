package import Architectures
internal import TensorModel

/// The layers that are parts of a matrix or of a stack of the base model.
package enum FusedParts {
  /// The parts of some tensors, each under the name that it has as a layer of its own.
  ///
  /// - Parameters:
  ///   - tensors: The tensors of the base model, with Hugging Face names or aliases.
  ///   - heads: The attention heads; nil if they are unknown, so that no attention is divided.
  ///   - dividesStacks: Whether the rows of stacked experts are outputs.
  /// - Returns: Entries for matching, whose `firstRow` is their place in the tensor.
  package static func parts(
    of tensors: [BaseTensor], heads: AttentionHeads?, dividesStacks: Bool
  ) -> [BaseTensor] {
    tensors.flatMap { tensor -> [BaseTensor] in
      guard let name = [tensor.info.name, tensor.alias].compactMap({ $0 }).first(where: isFused),
        let (path, rest) = FusedLayers.split(name)
      else { return [] }
      if let (_, parts) = FusedLayers.matrices.first(where: { "\($0.fused).weight" == rest }) {
        guard let counts = rowCounts(of: parts, in: tensor.info, heads) else { return [] }
        var firstRow = 0
        return zip(parts, counts).map { part, count in
          defer { firstRow += count }
          return tensor.part(path + part + ".weight", firstRow: firstRow, rowCount: count)
        }
      }
      guard dividesStacks, tensor.info.shape.rank == 3 else { return [] }
      return FusedLayers.stacks.filter { $0.fused == rest }.flatMap { _, parts in
        experts(parts.map { path + $0 }, of: tensor)
      }
    }
  }

  /// The layers of each expert of a stack, in equal shares of its rows.
  ///
  /// `patterns` are their names, with `*` for the number of the expert.
  package static func experts(_ patterns: [String], of tensor: BaseTensor) -> [BaseTensor] {
    let dimensions = tensor.info.shape.dimensions
    guard dimensions.count == 3, dimensions[1] % max(1, patterns.count) == 0 else { return [] }
    let count = dimensions[1] / patterns.count
    return (0..<dimensions[0]).flatMap { expert in
      patterns.enumerated().map { position, pattern in
        tensor.part(
          pattern.split(separator: "*").joined(separator: "\(expert)") + ".weight",
          firstRow: expert * dimensions[1] + position * count, rowCount: count)
      }
    }
  }

  /// The layers of some tensors under the names of mlx-lm, which adapters of both forms share.
  ///
  /// - Parameters:
  ///   - tensors: The tensors of the base model, and their parts.
  ///   - names: The names of mlx-lm.
  ///   - dividesStacks: Whether the rows of stacked experts are outputs.
  /// - Returns: Entries for matching, without those of names that `tensors` has.
  package static func layers(
    of tensors: [BaseTensor], named names: MLXNames, dividesStacks: Bool
  ) -> [BaseTensor] {
    var known = Set(tensors.map { ExactName($0.info.name) })
    return tensors.flatMap { tensor in
      let extents = tensor.info.shape.dimensions
      let isStack = extents.count == 3
      guard !isStack || dividesStacks else { return [BaseTensor]() }
      let whole = names.layers(of: tensor.info.name, expertCount: nil)
      let layers =
        isStack && isExperts(whole[0])
        ? names.layers(of: tensor.info.name, expertCount: extents[0]) : whole
      var entries = layers.count > 1 ? tensor.parts(layers) : []
      if whole.count == 1 { entries.append(tensor.renamed(whole[0])) }
      return entries.filter { known.insert(ExactName($0.info.name)).inserted }
    }
  }

  /// Whether a weight is that of a stack of experts, as transformers or mlx-lm names it.
  private static func isExperts(_ name: String) -> Bool {
    name.hasSuffix(".weight")
      && (MLXNames.isStack(name) || name.split(separator: ".").contains("experts"))
  }

  private static func isFused(_ name: String) -> Bool {
    guard let rest = FusedLayers.split(name)?.rest else { return false }
    return FusedLayers.matrices.contains { "\($0.fused).weight" == rest }
      || FusedLayers.stacks.contains { $0.fused == rest }
  }

  /// The rows of each part of a matrix; nil if they are unknown.
  private static func rowCounts(
    of parts: [String], in info: TensorInfo, _ heads: AttentionHeads?
  ) -> [Int]? {
    guard info.shape.rank == 2 else { return nil }
    let rows = info.shape.rowCount
    if parts.count == 2 { return rows % 2 == 0 ? [rows / 2, rows / 2] : nil }
    guard let heads else { return nil }
    let counts = [heads.queryCount, heads.keyValueCount, heads.keyValueCount].map {
      $0 * heads.size
    }
    return counts.reduce(0, +) == rows ? counts : nil
  }
}

extension BaseTensor {
  /// The tensor under another name.
  fileprivate func renamed(_ name: String) -> BaseTensor {
    var other = self
    (other.info.name, other.alias, other.aliasRows) = (name, nil, nil)
    return other
  }

  /// Entries for layers that share the rows of the tensor in equal runs; none if they cannot.
  fileprivate func parts(_ names: [String]) -> [BaseTensor] {
    let rows = info.shape.rowCount
    guard rows % names.count == 0 else { return [] }
    let count = rows / names.count
    return names.enumerated().map {
      part($1, firstRow: firstRow + $0 * count, rowCount: count)
    }
  }

  /// An entry for some rows of the tensor.
  fileprivate func part(_ name: String, firstRow: Int, rowCount: Int) -> BaseTensor {
    let shape = Shape(rowCount, info.shape.columnCount)
    var part = BaseTensor(
      index: index, info: TensorInfo(name: name, shape: shape, encoding: info.encoding))
    part.firstRow = firstRow
    part.isPart = true
    return part
  }
}
