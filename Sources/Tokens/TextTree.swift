package import Formats

/// Finds the texts of a list with which another text begins.
///
/// It is a tree whose edges are bytes. A hash table holds the edges, and the place of an edge in it
/// stands for the node to which the edge leads.
package struct TextTree: Sendable {
  /// A node; the root stands for the empty text.
  package typealias Node = Int

  /// The node where an edge begins, and its byte; `free` where no edge is.
  private var edges: [UInt64]
  /// The index of the text that ends after an edge, or -1.
  private var texts: [Int32]

  private static let free = UInt64.max
  /// The node of the empty text.
  package static let root: Node = 0

  /// Creates a tree of the texts that are not empty, except one of them.
  package init(_ list: TextIndex, except hidden: Int? = nil) {
    var size = 1024
    while size < 4 * list.count { size *= 2 }
    repeat {
      edges = Array(repeating: Self.free, count: size)
      texts = Array(repeating: -1, count: size)
      size *= 2
    } while !insertAll(list, except: hidden)
  }

  /// Returns whether half of the places were enough.
  private mutating func insertAll(_ list: TextIndex, except hidden: Int?) -> Bool {
    var count = 0
    for index in 0..<list.count where index != hidden {
      var node = Self.root
      for byte in list[index] {
        let place = place(of: Self.edge(node, byte))
        if edges[place] == Self.free {
          count += 1
          guard 2 * count <= edges.count else { return false }
          edges[place] = Self.edge(node, byte)
        }
        node = place + 1
      }
      if node != Self.root { texts[node - 1] = Int32(index) }
    }
    return true
  }

  @inline(__always)
  private static func edge(_ node: Node, _ byte: UInt8) -> UInt64 {
    UInt64(node) << 8 | UInt64(byte)
  }

  /// The place of an edge, or the free place that it would take.
  @inline(__always)
  private func place(of edge: UInt64) -> Int {
    let mask = edges.count - 1
    // Fibonacci hashing: the high half of a product depends on all bits.
    var place = Int(truncatingIfNeeded: (edge &* 0x9E37_79B9_7F4A_7C15) >> 32) & mask
    while edges[place] != edge, edges[place] != Self.free { place = (place + 1) & mask }
    return place
  }

  /// The node that a byte leads to; nil if no text continues so.
  @inline(__always)
  package func child(of node: Node, _ byte: UInt8) -> Node? {
    let place = place(of: Self.edge(node, byte))
    return edges[place] == Self.free ? nil : place + 1
  }

  /// The node that a text leads to; nil if no text of the list begins with it.
  package func node(of text: some Sequence<UInt8>) -> Node? {
    var node = Self.root
    for byte in text {
      guard let next = child(of: node, byte) else { return nil }
      node = next
    }
    return node
  }

  /// The index of the text that ends at a node.
  @inline(__always)
  package func text(at node: Node) -> Int? {
    guard node != Self.root, texts[node - 1] >= 0 else { return nil }
    return Int(texts[node - 1])
  }
}
