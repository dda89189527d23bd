import Formats
import TestSupport
import Testing
import Tokens

@Suite("Tree of texts")
struct TextTreeTests {
  /// The indices of the texts that a text begins with, the shortest first.
  private func found(_ text: ArraySlice<UInt8>, in tree: TextTree) -> [Int] {
    var node = TextTree.root
    var result: [Int] = []
    for byte in text {
      guard let next = tree.child(of: node, byte) else { break }
      node = next
      if let index = tree.text(at: node) { result.append(index) }
    }
    return result
  }

  @Test("finds the texts that another text begins with, and no hidden or empty one")
  func prefixes() {
    var generator = Seeded(5)
    var list = TextIndex()
    list.insert([])
    while list.count < 3000 {
      list.insert(
        ArraySlice(
          (0..<Int.random(in: 1...9, using: &generator)).map { _ in
            UInt8.random(in: 250...255, using: &generator)
          }))
    }
    let hidden = 7
    let tree = TextTree(list, except: hidden)
    #expect(tree.text(at: TextTree.root) == nil)
    for _ in 0..<500 {
      let text = ArraySlice((0..<12).map { _ in UInt8.random(in: 250...255, using: &generator) })
      let expected = (1..<list.count)
        .filter { $0 != hidden && text.starts(with: list[$0]) }
        .sorted { list[$0].count < list[$1].count }
      #expect(!expected.isEmpty)
      #expect(found(text, in: tree) == expected)
    }
    #expect(found(list[hidden], in: tree).contains(hidden) == false)
    #expect(tree.node(of: list[9]).flatMap(tree.text) == 9)
    #expect(tree.node(of: [1, 2]) == nil)
  }
}
